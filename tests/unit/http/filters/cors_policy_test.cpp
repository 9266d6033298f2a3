#include "core/http/filters/cors_policy.hpp"

#include <catch2/catch.hpp>
#include <string>

#include "tests/unit/http/head.hpp"

using namespace fiberd;
using http::CorsOptions;
using http::CorsPolicy;
using http::Method;
using http_test::Head;
using Kind = http::CorsDecision::Kind;

namespace {

CorsPolicy policy(CorsOptions options) {
  std::string why;
  const Result<CorsPolicy> made = CorsPolicy::make(std::move(options), &why);
  CAPTURE(why);
  REQUIRE(made);
  return *made;
}
std::string why_not(CorsOptions options) {
  std::string why;
  return CorsPolicy::make(std::move(options), &why) ? "" : why;
}
const CorsOptions kSite{
    .origins = {"https://app.example.com", "https://*.dev.example.com:8443", "http://localhost:3000"},
    .methods = {"PUT", "DELETE"},
    .headers = {"Authorization", "X-Trace"},
    .expose = {"ETag"},
    .credentials = true};

}  // namespace

TEST_CASE("origins are compared as browsers write them", "[http][cors]") {
  const CorsPolicy p = policy(kSite);
  for (const char* in : {"https://app.example.com", "https://a.dev.example.com:8443",
                         "https://a.b-c.dev.example.com:8443", "http://localhost:3000"})
    CHECK(p.allows_origin(in));
  for (const char* out :
       {"", "null", "http://app.example.com", "https://app.example.com:443", "https://app.example.com.evil.example",
        "https://evil-app.example.com", "https://APP.example.com", "https://dev.example.com:8443",
        "https://.dev.example.com:8443", "https://a..dev.example.com", "https://evildev.example.com:8443",
        "https://evil.example/.dev.example.com:8443", "https://evil.example:80.dev.example.com:8443",
        "https://user@a.dev.example.com:8443", "https://a.dev.example.com", "https://localhost:3000",
        "https://evil.example#.dev.example.com:8443", "https://a.dev.example.com:8443/"})
    CHECK_FALSE(p.allows_origin(out));
  CHECK(policy({.origins = {"*"}}).allows_origin("https://any.example"));
}

TEST_CASE("a request's answer may be read by an allowed origin", "[http][cors]") {
  const CorsPolicy p = policy(kSite);
  const Head allowed{{"Origin", "https://app.example.com"}};
  const auto yes = p.decide(Method::get, allowed.view());
  CHECK(yes.kind == Kind::allowed);
  CHECK(yes.allow_origin == "https://app.example.com");
  CHECK(yes.vary_origin);
  CHECK(p.credentials());
  CHECK(p.expose() == "ETag");
  const Head other{{"Origin", "https://evil.example"}};
  const auto no = p.decide(Method::get, other.view());
  CHECK(no.kind == Kind::refused);
  CHECK(no.allow_origin.empty());
  CHECK(no.vary_origin);
  const auto none = p.decide(Method::get, {});
  CHECK(none.kind == Kind::none);
  CHECK(none.vary_origin);
  const Head twice{{"Origin", "https://app.example.com"}, {"Origin", "https://app.example.com"}};
  CHECK(p.decide(Method::get, twice.view()).kind == Kind::refused);
  // The answer is the same for all: nothing varies, and no origin is named.
  const auto any = policy({.origins = {"*"}}).decide(Method::get, other.view());
  CHECK(any.kind == Kind::allowed);
  CHECK(any.allow_origin == "*");
  CHECK_FALSE(any.vary_origin);
}

TEST_CASE("preflights are answered by what may be sent", "[http][cors]") {
  const CorsPolicy p = policy(kSite);
  const auto ask = [&](const std::string& origin, const std::string& method, const std::string& headers) {
    const Head head{{"Origin", origin},
                    {"Access-Control-Request-Method", method},
                    {"Access-Control-Request-Headers", headers},
                    {"Access-Control-Request-Private-Network", "true"}};
    const auto d = p.decide(Method::options, head.view());
    return d.kind == Kind::preflight ? "yes " + d.allow_headers : "no " + std::string(d.reason);
  };
  const std::string app = "https://app.example.com";
  CHECK(ask(app, "GET", "") == "yes ");
  CHECK(ask(app, "POST", "authorization") == "yes authorization");
  CHECK(ask(app, "PUT", "x-trace,authorization") == "yes x-trace, authorization");
  CHECK(ask(app, "PATCH", "") == "no method");
  CHECK(ask(app, "put", "") == "no method");  // methods have case
  CHECK(ask(app, "", "") == "no method");
  CHECK(ask(app, "PUT", "x-other") == "no headers");
  CHECK(ask(app, "PUT", "x trace") == "no headers");
  CHECK(ask("https://evil.example", "GET", "") == "no origin");
  CHECK(ask("null", "GET", "") == "no origin");
  std::string many = "x-trace";
  for (std::size_t i = 0; i < CorsPolicy::kMaxAsked; ++i) many += ",x-trace";
  CHECK(ask(app, "GET", many) == "no headers");
  CHECK(p.allow_methods() == "PUT, DELETE");
  CHECK(p.max_age() == "600");
  // OPTIONS without a method asked for is a request like others; a preflight is an OPTIONS.
  const Head plain{{"Origin", app}};
  CHECK(p.decide(Method::options, plain.view()).kind == Kind::allowed);
  const Head odd{{"Origin", app}, {"Access-Control-Request-Method", "PUT"}};
  CHECK(p.decide(Method::get, odd.view()).kind == Kind::allowed);
}

TEST_CASE("wildcards of methods and headers", "[http][cors]") {
  const CorsPolicy p = policy({.origins = {"*"}, .methods = {"*"}, .headers = {"*"}, .expose = {"*"}});
  const Head head{{"Origin", "https://a.example"},
                  {"Access-Control-Request-Method", "PROPFIND"},
                  {"Access-Control-Request-Headers", "x-any"}};
  const auto d = p.decide(Method::options, head.view());
  CHECK(d.kind == Kind::preflight);
  CHECK(d.allow_headers == "x-any");
  CHECK(p.allow_methods() == "*");
}

TEST_CASE("policies that would be none are refused with a sentence", "[http][cors]") {
  CHECK_FALSE(why_not({.origins = {}}).empty());
  CHECK_FALSE(why_not({.origins = {"null"}}).empty());
  CHECK_FALSE(why_not({.origins = {"*", "https://a.example"}}).empty());
  CHECK_FALSE(why_not({.origins = {"*"}, .credentials = true}).empty());
  CHECK_FALSE(why_not({.origins = {"https://a.example"}, .methods = {"*"}, .credentials = true}).empty());
  CHECK_FALSE(why_not({.origins = {"https://a.example"}, .expose = {"*"}, .credentials = true}).empty());
  CHECK_FALSE(why_not({.origins = {"https://a.example"}, .methods = {"GET PUT"}}).empty());
  CHECK_FALSE(why_not({.origins = {"https://a.example"}, .headers = {"a\r\nb"}}).empty());
  for (const char* origin :
       {"a.example", "https://", "https://a.example/", "https://A.example", "https://a.example:443",
        "http://a.example:80", "https://*", "https://*example.com", "https://a.*.example",
        "https://a.example:", "https://u@a.example", "://a", "https://a.example/x"}) {
    CAPTURE(origin);
    CHECK_FALSE(why_not({.origins = {origin}}).empty());
  }
}
