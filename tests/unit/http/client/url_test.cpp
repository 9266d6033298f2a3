#include "core/http/client/url.hpp"

#include <catch2/catch.hpp>

#include "core/http/client/errc.hpp"

using namespace fiberd::http;

TEST_CASE("client URL: its parts", "[http][client]") {
  struct Row {
    std::string_view url;
    std::string_view authority;
    std::string_view host;
    std::uint16_t port;
    std::string_view target;
  };
  for (const Row& row : {Row{"http://[::1]:90/x?y=z", "[::1]:90", "::1", 90, "/x?y=z"},
                         Row{"http://a/", "a", "a", 80, "/"}, Row{"HtTp://a.b:8080", "a.b:8080", "a.b", 8080, ""},
                         Row{"http://a:/p", "a:", "a", 80, "/p"}, Row{"http://a?q", "a", "a", 80, "?q"},
                         Row{"http://a/p#f", "a", "a", 80, "/p"}, Row{"http://a#f/p", "a", "a", 80, ""},
                         Row{"http://[2001:db8::1]/[x]{y}|", "[2001:db8::1]", "2001:db8::1", 80, "/[x]{y}|"},
                         Row{"http://a//b/../c", "a", "a", 80, "//b/../c"}}) {
    INFO(row.url);
    const auto url = parse_client_url(row.url);
    REQUIRE(url.has_value());
    CHECK(url->authority == row.authority);
    CHECK(url->host == row.host);
    CHECK(url->port == row.port);
    CHECK(url->target == row.target);
  }
  const auto secure = parse_client_url("HTTPS://a/p#f");
  REQUIRE(secure.has_value());
  CHECK(secure->secure);
  CHECK(secure->port == 443);
  CHECK(secure->target == "/p");
  CHECK(parse_client_url("https://a:8443/")->port == 8443);
  CHECK_FALSE(parse_client_url("http://a:443/")->secure);
  for (const std::string_view bad : {"", "http:/a", "http//a", "http://", "http://:80/", "http://a:0/", "http://a@b/",
                                     "http://a/\x7f", "http://a/\xc3\xa4", "http://a b/", "http://a/\\"})
    CHECK(parse_client_url(bad).error() == client_errc::bad_url);
}
