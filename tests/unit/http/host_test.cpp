#include "core/http/host.hpp"

#include <catch2/catch.hpp>

using namespace fiberd::http;

TEST_CASE("authorities", "[http][host]") {
  using namespace std::string_view_literals;
  for (const std::string_view yes : {"a"sv, "a:80"sv, "a:"sv, "127.0.0.1:1"sv, "[::1]"sv, "[::ffff:1.2.3.4]:8"sv})
    CHECK(is_valid_authority(yes));
  for (const std::string_view no : {""sv, ":80"sv, "a:x"sv, "a:65536"sv, "[::1"sv, "[]"sv, "[::1]x"sv, "[::1\0x]"sv,
                                    "[::\0\0a P]:443"sv, "a\0b"sv, "u@a"sv, "a,b"sv, "a b"sv, "%4"sv})
    CHECK_FALSE(is_valid_authority(no));
}

TEST_CASE("the name of a host", "[http][host]") {
  CHECK(host_name("a.example.:80") == "a.example");
  CHECK(host_name("a") == "a");
  CHECK(host_name("a..") == "a.");
  CHECK(host_name(".").empty());
  CHECK(host_name("[::1]:80") == "[::1]");
}

TEST_CASE("hosts that are an address", "[http][host]") {
  using namespace std::string_view_literals;
  for (const std::string_view yes :
       {""sv, "127.0.0.1"sv, "10.0.0.7:9090"sv, "127.0.0.1."sv, "[::1]"sv, "[fe80::1]:1"sv})
    CHECK(is_address_host(yes));
  for (const std::string_view no : {":1"sv, "localhost"sv, "127.0.0.1.evil.example"sv, "127.1"sv, "0x7f000001"sv,
                                    "127%2e0.0.1"sv, "127.0.0.1\0.x"sv, "[::1].evil"sv, "[::1"sv, "1.2.3.4.5"sv})
    CHECK_FALSE(is_address_host(no));
}

TEST_CASE("which hosts a listener serves", "[http][host]") {
  CHECK(serves_host({}, "anything:80"));
  CHECK(serves_host({}, ""));
  const std::vector<std::string> hosts{"example.org", "*.example.net", "[::1]"};
  for (const char* yes : {"example.org", "EXAMPLE.org", "example.org:8080", "example.org.", "a.example.net",
                          "b.A.example.NET:1", "[::1]", "[::1]:443"})
    CHECK(serves_host(hosts, yes));
  for (const char* no : {"", "example.com", "a.example.org", "example.net", ".example.net", "xexample.net",
                         "a.example.net.evil", "[::2]", "example.org.."})
    CHECK_FALSE(serves_host(hosts, no));
}
