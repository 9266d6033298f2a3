// The filters that come with the house, but for compression and authentication, which have files of their own.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/http/files/files.hpp"
#include "core/http/filters/access_filter.hpp"
#include "core/http/filters/cache_control_filter.hpp"
#include "core/http/filters/client_address_filter.hpp"
#include "core/http/filters/cors_filter.hpp"
#include "core/http/filters/headers_filter.hpp"
#include "core/http/filters/redirect_filter.hpp"
#include "core/http/filters/request_id_filter.hpp"
#include "core/http/filters/template_respond.hpp"
#include "core/http/site/gate.hpp"
#include "core/metric/registry.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using http::Exchange;
using http::Template;

namespace {

net::AddressRanges ranges(const std::vector<std::string>& texts) { return *net::AddressRanges::make(texts); }
Answer answer_to(const HttpServer& server, const std::string& request, bool to_head = false) {
  HttpClient client(server.port());
  const auto answer = client.ask(request, to_head);
  REQUIRE(answer);
  return *answer;
}
/// Says what it sees: the peer, and what a test asks for.
std::shared_ptr<http::Handler> tells_peer() {
  return handler([](Exchange& ex) { return ex.respond(200, "text/plain", ex.peer().host()); });
}
std::size_t count_of(const std::string& text, const std::string& what) {
  std::size_t n = 0;
  for (std::size_t at = 0; (at = text.find(what, at)) != std::string::npos; at += what.size()) ++n;
  return n;
}

}  // namespace

TEST_CASE("headers: set, add and remove fields of whatever is answered", "[integration][http][filters]") {
  http::HeadersOptions fields;
  fields.set = {{"X-Content-Type-Options", *Template::parse("nosniff")},
                {"Cache-Control", *Template::parse("no-store")},
                {"X-Asked", *Template::parse("${method} ${host}${path}${query} ${header.X-In}")},
                {"X-None", *Template::parse("${header.Not-There}")}};
  fields.add = {{"Link", *Template::parse("</b>; rel=next")}};
  fields.remove = {"X-Powered-By", "Server"};
  http::ServerOptions options;
  options.server_name = "fiberd";
  options.filters = {*http::make_headers_filter(std::move(fields))};
  const auto own = handler([](Exchange& ex) {
    const http::Field own_fields[] = {{"Cache-Control", "public"}, {"X-Powered-By", "me"}, {"Link", "</a>"}};
    return ex.respond(200, "text/plain", "hello", own_fields);
  });
  HttpServer server({route("/own", own), route("/hello", hello())}, std::move(options));

  const Answer a = answer_to(server, get("/own?q=1", "X-In: in\r\n"));
  CHECK(a.body == "hello");
  CHECK(a.field("X-Content-Type-Options") == "nosniff");
  CHECK(a.field("Cache-Control") == "no-store");
  CHECK(count_of(a.head, "Cache-Control") == 1);
  CHECK(a.field("X-Asked") == "GET a.example/own?q=1 in");
  CHECK(count_of(a.head, "\r\nLink: ") == 2);
  CHECK(a.field("X-Powered-By").empty());
  CHECK(a.field("Server").empty());
  CHECK(a.head.find("X-None") == std::string::npos);
  // Prepared answers and the server's own errors too.
  CHECK(answer_to(server, get("/hello")).field("X-Content-Type-Options") == "nosniff");
  const Answer none = answer_to(server, get("/none"));
  CHECK(none.status == 404);
  CHECK(none.field("X-Content-Type-Options") == "nosniff");
  CHECK(answer_to(server, "HEAD /own HTTP/1.1\r\nHost: a\r\n\r\n", true).field("Cache-Control") == "no-store");
  // A path with a line end in it stays one line.
  const Answer split = answer_to(server, get("/own%0d%0aX-Evil:%201"));
  CHECK(split.head.find("\r\nX-Evil") == std::string::npos);
  CHECK(split.field("X-Asked").find("%0D%0AX-Evil: 1") != std::string::npos);
}

TEST_CASE("headers: what is no field is refused when it is made", "[integration][http][filters]") {
  for (const char* name : {"", "a b", "Content-Length", "Transfer-Encoding", "Connection", "Date", "a\r\nb"}) {
    std::string why;
    http::HeadersOptions fields;
    fields.set = {{name, *Template::parse("x")}};
    CHECK_FALSE(http::make_headers_filter(std::move(fields), &why));
    CHECK_FALSE(why.empty());
  }
}

TEST_CASE("redirects keep path and query, and lead nobody in circles", "[integration][http][filters]") {
  const auto rule = [](const char* location, unsigned status = 308) {
    http::RedirectRule r;
    r.location = *Template::parse(location);
    r.status = status;
    return r;
  };
  http::RedirectRule secure = rule("https://${host}${path}${query}");
  secure.scheme = "http";
  http::RedirectRule www = rule("http://a.example${path}${query}", 301);
  www.hosts = {"www.a.example"};
  HttpServer server(
      {route("/secure/*", hello(), {*http::make_redirect_filter(std::move(secure))}),
       route("/www/*", hello(), {*http::make_redirect_filter(std::move(www))}),
       route("/self/*", hello(), {*http::make_redirect_filter(rule("${path}${query}"))}),
       route("/self2/*", hello(), {*http::make_redirect_filter(rule("http://${host}${path}${query}"))}),
       route("/old/*", *http::make_template_redirect_handler(rule("https://${host}/new/${rest}${query}", 307)))});
  const auto location = [&](const std::string& target, const std::string& host) {
    const Answer a = answer_to(server, "GET " + target + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n");
    return std::to_string(a.status) + " " + a.field("Location");
  };
  CHECK(location("/secure/a/b?q=1&r=%20", "a.example:8080") == "308 https://a.example/secure/a/b?q=1&r=%20");
  CHECK(location("/secure/%C3%A4%20b", "a.example") == "308 https://a.example/secure/%C3%A4%20b");
  CHECK(location("/secure/%0d%0aSet-Cookie:x", "a.example") == "308 https://a.example/secure/%0D%0ASet-Cookie:x");
  CHECK(location("/secure/%5c%5cevil.example", "a.example") == "308 https://a.example/secure/%5C%5Cevil.example");
  CHECK(location("/www/x?y", "www.a.example") == "301 http://a.example/www/x?y");
  CHECK(location("/www/x?y", "a.example") == "200 ");
  CHECK(location("/self/x?y", "a.example") == "200 ");
  CHECK(location("/self2/x?y", "a.example") == "200 ");
  CHECK(location("/old//a/../b?c", "a.example") == "307 https://a.example/new/b?c");
  const Answer hostless = answer_to(server, "GET /secure/x HTTP/1.0\r\n\r\n");
  CHECK(hostless.status == 400);
  std::string why;
  CHECK_FALSE(http::make_redirect_filter(rule("/x", 200), &why));
  CHECK_FALSE(http::make_redirect_filter(rule("https://a${rest}"), &why));
  CHECK(why.find("host") != std::string::npos);
  CHECK_FALSE(http::make_redirect_filter(rule(""), &why));
}

TEST_CASE("a listener's redirect leads to no host that the path names", "[integration][http][filters]") {
  http::RedirectRule rule;
  rule.location = *Template::parse("/${rest}");
  rule.hosts = {"old.example"};
  http::ServerOptions options;
  options.filters = {*http::make_redirect_filter(std::move(rule))};
  HttpServer server({route("/known/*", hello())}, std::move(options));
  const auto location = [&](const std::string& path) {
    return answer_to(server, "GET " + path + " HTTP/1.1\r\nHost: old.example\r\n\r\n").field("Location");
  };
  CHECK(location("/known/evil.example") == "/evil.example");
  CHECK(location("//evil.example/x") != "//evil.example/x");
  CHECK_FALSE(location("//evil.example/x").starts_with("//"));
  CHECK_FALSE(location("/%2e/evil.example").starts_with("//"));
}

TEST_CASE("allow and deny go by the real client", "[integration][http][filters]") {
  metric::Registry registry;
  metric::Counter& refused = registry.counter(registry.family({.name = "refused_total", .help = "h"}));
  http::ServerOptions options;
  options.outermost = {http::make_client_address_filter({.trusted = ranges({"127.0.0.0/8"})})};
  const auto access = [&](std::vector<std::string> allow, std::vector<std::string> deny) {
    return http::make_access_filter({.allow = ranges(allow), .deny = ranges(deny), .refused = &refused});
  };
  HttpServer server({route("/any", tells_peer()), route("/in", tells_peer(), {access({"203.0.113.0/24"}, {})}),
                     route("/but", tells_peer(), {access({"203.0.113.0/24"}, {"203.0.113.7"})}),
                     route("/not", tells_peer(), {access({}, {"2001:db8::/32", "127.0.0.1"})})},
                    std::move(options));
  const auto as = [&](const std::string& path, const std::string& client) {
    const Answer a = answer_to(server, get(path, client.empty() ? "" : "X-Forwarded-For: " + client + "\r\n"));
    return a.status == 200 ? a.body : std::to_string(a.status);
  };
  CHECK(as("/any", "") == "127.0.0.1");
  CHECK(as("/any", "203.0.113.9") == "203.0.113.9");
  CHECK(as("/any", "203.0.113.9, 198.51.100.1") == "198.51.100.1");
  CHECK(as("/any", "nonsense") == "127.0.0.1");
  CHECK(as("/in", "203.0.113.9") == "203.0.113.9");
  CHECK(as("/in", "203.0.114.9") == "403");
  CHECK(as("/in", "203.0.113.9, 192.0.2.1") == "403");
  CHECK(as("/in", "") == "403");
  CHECK(as("/but", "203.0.113.6") == "203.0.113.6");
  CHECK(as("/but", "203.0.113.7") == "403");
  CHECK(as("/not", "2001:db8::1") == "403");
  CHECK(as("/not", "2001:db9::1") == "2001:db9::1");
  CHECK(as("/not", "") == "403");
  CHECK(refused.value() == 6);
}

TEST_CASE("a peer that is no trusted proxy tells nothing", "[integration][http][filters]") {
  http::RedirectRule secure;
  secure.location = *Template::parse("https://${host}${path}");
  secure.scheme = "http";
  {
    http::ServerOptions options;
    options.outermost = {http::make_client_address_filter({.trusted = ranges({"10.0.0.0/8"})}),
                         *http::make_request_id_filter({.trust_proxies = true})};
    HttpServer server({route("/", tells_peer()), route("/secure", hello(), {*http::make_redirect_filter(secure)})},
                      std::move(options));
    CHECK(answer_to(server, get("/", "X-Forwarded-For: 203.0.113.9\r\n")).body == "127.0.0.1");
    CHECK(answer_to(server, get("/", "X-Request-Id: 0123456789\r\n")).field("X-Request-Id").size() == 32);
    CHECK(answer_to(server, get("/secure", "X-Forwarded-Proto: https\r\n")).status == 308);
  }
  http::ServerOptions trusting;
  trusting.outermost = {http::make_client_address_filter({.trusted = ranges({"127.0.0.1"})})};
  HttpServer behind({route("/secure", hello(), {*http::make_redirect_filter(secure)})}, std::move(trusting));
  CHECK(answer_to(behind, get("/secure", "X-Forwarded-Proto: https\r\n")).status == 200);
  CHECK(answer_to(behind, get("/secure")).status == 308);
}

TEST_CASE("a request has one id: its proxy's or a fresh one", "[integration][http][filters]") {
  const auto tells_id = handler([](Exchange& ex) {
    const auto* id = ex.find_slot<http::RequestId>();
    const http::Field own{"X-Request-Id", "another"};
    return ex.respond(200, "text/plain", id == nullptr ? "none" : id->text, {&own, 1});
  });
  const std::string theirs = "0c5d1a6e-1b7e-4f4e-8a10-a5b6bd1ce2a9";
  {
    http::ServerOptions trusting;
    trusting.outermost = {http::make_client_address_filter({.trusted = ranges({"127.0.0.1"})}),
                          *http::make_request_id_filter({.trust_proxies = true})};
    HttpServer server({route("/", tells_id)}, std::move(trusting));
    const Answer own = answer_to(server, get("/"));
    CHECK(own.body.size() == 32);
    CHECK(own.field("X-Request-Id") == own.body);
    CHECK(count_of(own.head, "X-Request-Id") == 1);
    CHECK(answer_to(server, get("/")).body != own.body);
    CHECK(answer_to(server, get("/", "x-request-id: " + theirs + "\r\n")).body == theirs);
    for (const std::string& bad : {std::string("short"), std::string(129, 'a'), std::string("with blank inside")})
      CHECK(answer_to(server, get("/", "X-Request-Id: " + bad + "\r\n")).body.size() == 32);
    CHECK(answer_to(server, get("/none")).field("X-Request-Id").size() == 32);
  }
  http::ServerOptions wary;
  wary.filters = {*http::make_request_id_filter({})};
  HttpServer other({route("/", tells_id)}, std::move(wary));
  CHECK(answer_to(other, get("/", "X-Request-Id: " + theirs + "\r\n")).body != theirs);
  CHECK_FALSE(http::make_request_id_filter({.field = "Content-Length"}));
}

TEST_CASE("Cache-Control by kind, where the handler says none", "[integration][http][filters]") {
  http::ServerOptions options;
  options.filters = {http::make_cache_control_filter(
      *http::CacheRules::make({{".css", "max-age=86400"}, {"text/plain", "no-cache"}}))};
  const auto own = handler([](Exchange& ex) {
    const http::Field field{"Cache-Control", "private"};
    return ex.respond(200, "text/plain", "x", {&field, 1});
  });
  HttpServer server({route("/a.css", hello()), route("/hello", hello()), route("/own", own)}, std::move(options));
  CHECK(answer_to(server, get("/a.css")).field("Cache-Control") == "max-age=86400");
  CHECK(answer_to(server, get("/hello")).field("Cache-Control") == "no-cache");
  CHECK(answer_to(server, get("/own")).field("Cache-Control") == "private");
  const Answer none = answer_to(server, get("/none.css"));
  CHECK(none.status == 404);
  CHECK(none.field("Cache-Control").empty());
}

TEST_CASE("CORS: preflights are answered, and pages may read what they are allowed to",
          "[integration][http][filters]") {
  metric::Registry registry;
  const auto counter = [&](const char* name) {
    return &registry.counter(registry.family({.name = name, .help = "h"}));
  };
  const http::CorsMetrics metrics{counter("yes_total"), counter("no_total")};
  http::ServerOptions options;
  options.filters = {http::make_cors_filter(*http::CorsPolicy::make({.origins = {"https://*.example.com"},
                                                                     .methods = {"PUT"},
                                                                     .headers = {"X-Trace"},
                                                                     .expose = {"ETag"},
                                                                     .credentials = true}),
                                            metrics)};
  const auto own = handler([](Exchange& ex) {
    const http::Field fields[] = {{"Access-Control-Allow-Origin", "*"}, {"Vary", "Accept"}, {"Vary", "Cookie"}};
    return ex.respond(200, "text/plain", "x", fields);
  });
  http::Route only_get{.spec = {.path = "/only-get", .methods = http::MethodSet::of(http::Method::get)},
                       .handler = hello()};
  HttpServer server({route("/own", own), route("/hello", hello()), std::move(only_get)}, std::move(options));
  const auto preflight = [&](const std::string& path, const std::string& origin, const std::string& method) {
    return answer_to(server,
                     "OPTIONS " + path + " HTTP/1.1\r\nHost: a\r\nOrigin: " + origin +
                         "\r\nAccess-Control-Request-Method: " + method +
                         "\r\nAccess-Control-Request-Headers: x-trace\r\nAccess-Control-Request-Private-Network: "
                         "true\r\n\r\n");
  };
  for (const char* path : {"/hello", "/only-get", "/none"}) {
    const Answer yes = preflight(path, "https://app.example.com", "PUT");
    CHECK(yes.status == 204);
    CHECK(yes.field("Access-Control-Allow-Origin") == "https://app.example.com");
    CHECK(yes.field("Access-Control-Allow-Credentials") == "true");
    CHECK(yes.field("Access-Control-Allow-Methods") == "PUT");
    CHECK(yes.field("Access-Control-Allow-Headers") == "x-trace");
    CHECK(yes.field("Access-Control-Max-Age") == "600");
    CHECK(yes.field("Vary").find("Origin") != std::string::npos);
    CHECK(yes.head.find("Private-Network") == std::string::npos);
  }
  const Answer no = preflight("/hello", "https://evil.example", "PUT");
  CHECK(no.status == 403);
  CHECK(no.head.find("Access-Control-Allow") == std::string::npos);
  CHECK(preflight("/hello", "https://app.example.com", "DELETE").status == 403);
  CHECK(metrics.preflights->value() == 3);
  CHECK(metrics.refused->value() == 2);

  const Answer allowed = answer_to(server, get("/own", "Origin: https://app.example.com\r\n"));
  CHECK(allowed.field("Access-Control-Allow-Origin") == "https://app.example.com");
  CHECK(count_of(allowed.head, "Access-Control-Allow-Origin") == 1);
  CHECK(allowed.field("Access-Control-Expose-Headers") == "ETag");
  CHECK(allowed.field("Vary") == "Accept, Cookie, Origin");
  const Answer refused = answer_to(server, get("/own", "Origin: https://evil.example\r\n"));
  CHECK(refused.status == 200);
  CHECK(refused.head.find("Access-Control") == std::string::npos);
  CHECK(refused.field("Vary") == "Accept, Cookie, Origin");
  const Answer plain = answer_to(server, get("/hello"));
  CHECK(plain.head.find("Access-Control") == std::string::npos);
  CHECK(plain.field("Vary") == "Origin");
  // OPTIONS that is no preflight is the server's.
  CHECK(answer_to(server, "OPTIONS /only-get HTTP/1.1\r\nHost: a\r\n\r\n").field("Allow").find("GET") !=
        std::string::npos);
}

TEST_CASE("CORS of a route: preflights about its requests, whoever serves OPTIONS, and what the server answers for it",
          "[integration][http][filters]") {
  const auto only = [](http::Method method) { return http::MethodSet::of(method); };
  const auto cors = [](std::vector<std::string> methods = {}) {
    return http::make_cors_filter(
        *http::CorsPolicy::make({.origins = {"https://a.example"}, .methods = std::move(methods), .headers = {"X-A"}}));
  };
  http::HeadersOptions fields;
  fields.set = {{"X-Rest", *Template::parse("r${rest}")}};
  const TemporaryDirectory dir;
  (void)dir.write("a.txt", "text");
  std::vector<http::Route> routes;
  routes.push_back({.spec = {.path = "/put", .methods = only(http::Method::put)},
                    .handler = hello(),
                    .require_length = true,
                    .filters = {cors({"PUT"})}});
  routes.push_back({.spec = {.path = "/put", .methods = only(http::Method::get)}, .handler = hello()});
  routes.push_back({.spec = {.path = "/f/*", .methods = only(http::Method::get)},
                    .handler = *http::make_files_handler({.root = dir.path()}),
                    .body_size = 4,
                    .filters = {cors(), *http::make_headers_filter(std::move(fields))}});
  routes.push_back(
      {.spec = {.path = "/closed", .methods = only(http::Method::put)},
       .handler = hello(),
       .filters = {http::make_access_filter({.allow = ranges({"192.0.2.1"}), .deny = {}}), cors({"PUT"})}});
  // Serves OPTIONS of everything, and has a CORS of its own.
  routes.push_back({.spec = {.path = "/*"},
                    .handler = handler([](Exchange& ex) {
                      return ex.respond(200, "text/plain", ex.request().method == http::Method::options ? "mine" : "x");
                    })});
  HttpServer server(std::move(routes));
  const std::string origin = "Origin: https://a.example\r\n";
  const auto preflight = [&](const std::string& path, const std::string& method) {
    return answer_to(server, "OPTIONS " + path + " HTTP/1.1\r\nHost: a\r\n" + origin +
                                 "Access-Control-Request-Method: " + method +
                                 "\r\nAccess-Control-Request-Headers: x-a\r\n\r\n");
  };
  for (const auto& [path, method] : std::vector<std::pair<std::string, std::string>>{
           {"/put", "PUT"}, {"/f/a.txt", "GET"}, {"/f/a.txt", "HEAD"}, {"/f", "GET"}}) {
    CAPTURE(path, method);
    const Answer yes = preflight(path, method);
    CHECK(yes.status == 204);
    CHECK(yes.field("Access-Control-Allow-Origin") == "https://a.example");
    CHECK(yes.field("Access-Control-Allow-Headers") == "x-a");
  }
  // Not of this route, and those whose route says nothing of CORS.
  CHECK(preflight("/put", "GET").body == "mine");
  CHECK(preflight("/f/a.txt", "DELETE").body == "mine");
  CHECK(preflight("/other", "PUT").body == "mine");
  CHECK(preflight("/put", "BREW").body == "mine");
  CHECK(answer_to(server, "OPTIONS /put HTTP/1.1\r\nHost: a\r\n" + origin + "\r\n").body == "mine");
  CHECK(answer_to(server, "OPTIONS /put HTTP/1.1\r\nHost: a\r\nAccess-Control-Request-Method: PUT\r\n\r\n").body ==
        "mine");
  // What is written before it comes before it.
  CHECK(preflight("/closed", "PUT").status == 403);

  const Answer too_large =
      answer_to(server, "GET /f/a.txt HTTP/1.1\r\nHost: a\r\n" + origin + "Content-Length: 5\r\n\r\nabcde");
  CHECK(too_large.status == 413);
  CHECK(too_large.field("Access-Control-Allow-Origin") == "https://a.example");
  CHECK(too_large.field("X-Rest") == "ra.txt");
  const Answer no_length = answer_to(server, "PUT /put HTTP/1.1\r\nHost: a\r\n" + origin + "\r\n");
  CHECK(no_length.status == 411);
  CHECK(no_length.field("Access-Control-Allow-Origin") == "https://a.example");
  const Answer slash = answer_to(server, get("/f", origin));
  CHECK(slash.status == 301);
  CHECK(slash.field("Access-Control-Allow-Origin") == "https://a.example");
}

TEST_CASE("a route's filters stand around its 405 and its OPTIONS, its gate does not", "[integration][http][filters]") {
  http::HeadersOptions fields;
  fields.set = {{"X-Route", *Template::parse("one")}};
  http::GateOptions once;
  once.rate = http::GateRate{.rate = 1e-6, .burst = 1};
  std::vector<http::Route> routes;
  routes.push_back({.spec = {.path = "/put", .methods = http::MethodSet::of(http::Method::put)},
                    .handler = hello(),
                    .gate = std::make_shared<http::Gate>(once),
                    .filters = {*http::make_headers_filter(std::move(fields)),
                                http::make_cors_filter(
                                    *http::CorsPolicy::make({.origins = {"https://a.example"}, .methods = {"PUT"}}))}});
  HttpServer server(std::move(routes));
  for (int i = 0; i < 3; ++i) {
    const Answer no = answer_to(server, get("/put"));
    CHECK(no.status == 405);
    CHECK(no.field("Allow") == "PUT, OPTIONS");
    CHECK(no.field("X-Route") == "one");
    const Answer options = answer_to(server, "OPTIONS /put HTTP/1.1\r\nHost: a\r\n\r\n");
    CHECK(options.status == 204);
    CHECK(options.field("Allow") == "PUT, OPTIONS");
    CHECK(options.field("X-Route") == "one");
    CHECK(answer_to(server,
                    "OPTIONS /put HTTP/1.1\r\nHost: a\r\nOrigin: https://a.example\r\n"
                    "Access-Control-Request-Method: PUT\r\n\r\n")
              .field("Access-Control-Allow-Methods") == "PUT");
  }
  // Three preflights have taken no token.
  CHECK(answer_to(server, "PUT /put HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status == 200);
  CHECK(answer_to(server, "PUT /put HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n").status == 429);
  CHECK(answer_to(server, get("/none")).field("X-Route").empty());
}

TEST_CASE("an answer with variables becomes no markup and no field of its reader's", "[integration][http][filters]") {
  http::TemplateRespondOptions page;
  page.status = 404;
  page.content_type = "text/html; charset=utf-8";
  page.body = *Template::parse("<p>no ${path} for ${client}, $$5</p>");
  page.headers = {{"X-Asked", *Template::parse("${path}")}};
  http::TemplateRespondOptions json;
  json.content_type = "application/json";
  json.body = *Template::parse("{\"q\": \"${query}\"}");
  HttpServer server({route("/json", *http::make_template_respond_handler(std::move(json))),
                     route("/*", *http::make_template_respond_handler(std::move(page)))});
  const Answer html = answer_to(server, get("/%3Cscript%3E%0d%0aX-Evil:1"));
  CHECK(html.status == 404);
  CHECK(html.body == "<p>no /&lt;script&gt;\r\nX-Evil:1 for 127.0.0.1, $5</p>");
  CHECK(html.field("X-Asked") == "/<script>%0D%0AX-Evil:1");
  CHECK(html.field("X-Evil").empty());
  CHECK(answer_to(server, get("/json?a='b'")).body == "{\"q\": \"?a='b'\"}");
  CHECK(answer_to(server, "HEAD /x HTTP/1.1\r\nHost: a\r\n\r\n", true).field("Content-Length") ==
        std::to_string(std::string_view("<p>no /x for 127.0.0.1, $5</p>").size()));
  http::TemplateRespondOptions bad;
  bad.status = 99;
  CHECK_FALSE(http::make_template_respond_handler(std::move(bad)));
  http::TemplateRespondOptions untyped;
  untyped.content_type = " ";
  untyped.body = *Template::parse("${query}");
  CHECK_FALSE(http::make_template_respond_handler(std::move(untyped)));
}
