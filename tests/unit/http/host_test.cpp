#include "core/http/host.hpp"

#include <catch2/catch.hpp>

using namespace fiberd::http;

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
