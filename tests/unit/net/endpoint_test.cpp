#include "core/net/endpoint.hpp"

#include <catch2/catch.hpp>
#include <string>

using namespace fiberd;
using net::Endpoint;

TEST_CASE("endpoints are read and written", "[net][endpoint]") {
  for (const char* text : {"127.0.0.1:80", "0.0.0.0:0", "[::1]:8080", "[::]:65535", "unix:/run/x.sock"}) {
    const Result<Endpoint> e = Endpoint::parse(text);
    REQUIRE(e);
    CHECK(e->to_string() == text);
  }
  CHECK(Endpoint::parse(":80")->to_string() == "0.0.0.0:80");
  CHECK(Endpoint::parse("[::ffff:10.0.0.1]:80")->to_string() == "10.0.0.1:80");
  CHECK(Endpoint::parse("127.0.0.1:80")->host() == "127.0.0.1");
  CHECK(Endpoint::parse("[::1]:80")->host() == "::1");
  CHECK(Endpoint::parse("unix:/x")->host() == "unix:");
  CHECK(Endpoint::parse("unix:/x")->path() == "/x");
  CHECK(Endpoint::parse("unix:/x")->port() == 0);
}

TEST_CASE("what is no endpoint is refused", "[net][endpoint]") {
  for (const std::string text :
       {"", ":", "80", "127.0.0.1", "127.0.0.1:", "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:8x", "1.2.3:80",
        "[::1]", "[::1:80", "[]:80", "[:80", "::1:80x", "[127.0.0.1]:80", "host:80", "unix:"})
    CHECK_FALSE(Endpoint::parse(text));
  CHECK_FALSE(Endpoint::parse("unix:" + std::string(108, 'a')));
  CHECK(Endpoint::parse("unix:" + std::string(107, 'a')));
  CHECK_FALSE(Endpoint::parse(std::string_view("unix:/a\0b", 9)));
}
