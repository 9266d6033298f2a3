// The filters that come with the house, asked by programs that know nothing of it: curl, Python, Chromium.
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/http/filters/basic_auth_filter.hpp"
#include "core/http/filters/compression_filter.hpp"
#include "core/http/filters/cors_filter.hpp"
#include "core/http/filters/redirect_filter.hpp"
#include "core/metric/registry.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using http::Exchange;

namespace {

http::Route route(std::string path, std::shared_ptr<http::Handler> h,
                  std::vector<std::shared_ptr<http::Filter>> filters = {}) {
  http::Route made{.spec = {.path = std::move(path)}, .handler = std::move(h)};
  made.filters = std::move(filters);
  return made;
}
std::string text_of(std::size_t size) {
  std::string text;
  for (std::size_t i = 0; text.size() < size; ++i) text += "line " + std::to_string(i) + " of what compresses well\n";
  text.resize(size);
  return text;
}
std::string url(const HttpServer& server, const std::string& path) {
  return "http://127.0.0.1:" + std::to_string(server.port()) + path;
}

}  // namespace

TEST_CASE("curl and Python read what was compressed", "[integration][http][filters][tools]") {
  http::ServerOptions options;
  options.filters = {*http::make_compression_filter({})};
  const auto large = handler([](Exchange& ex) { return ex.respond(200, "text/plain", text_of(400'000)); });
  const auto stream = handler([](Exchange& ex) -> Result<void> {
    const std::string text = text_of(400'000);
    if (const auto sent = ex.begin({.content_type = "text/plain"}); !sent) return sent;
    for (std::size_t at = 0; at < text.size(); at += 50'000) {
      if (const auto sent = ex.write(std::string_view(text).substr(at, 50'000)); !sent) return sent;
      if (const auto sent = ex.flush(); !sent) return sent;
    }
    return ex.end();
  });
  HttpServer server({route("/large", large), route("/stream", stream)}, std::move(options));
  for (const std::string& coding : {std::string("gzip"), std::string("br"), std::string("zstd")}) {
    for (const char* path : {"/large", "/stream"}) {
      CAPTURE(coding, path);
      const Finished got = run({"curl", "-sS", "--compressed", "-H", "Accept-Encoding: " + coding, "-w",
                                "%{stderr}%header{content-encoding} %{size_download}", url(server, path)});
      CHECK(got.code == 0);
      CHECK(got.output == text_of(400'000));
      CHECK(got.errors.starts_with(coding + " "));
      CHECK(std::stoul(got.errors.substr(coding.size() + 1)) < 100'000);
    }
  }
  const Finished python =
      run({"python3", "-c",
           "import gzip, sys, urllib.request\n"
           "r = urllib.request.urlopen(urllib.request.Request(sys.argv[1], headers={'Accept-Encoding': "
           "'gzip'}))\n"
           "assert r.headers['Content-Encoding'] == 'gzip', r.headers\n"
           "sys.stdout.write(gzip.decompress(r.read()).decode())",
           url(server, "/stream")});
  CAPTURE(python.errors);
  CHECK(python.code == 0);
  CHECK(python.output == text_of(400'000));
}

TEST_CASE("curl and Python log in", "[integration][http][filters][tools]") {
  const TemporaryDirectory dir;
  const std::string file = dir.write("users",
                                     "user:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n"
                                     "t\xc3\xa4st:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n");
  HttpServer server({route("/", handler([](Exchange& ex) {
                             return ex.respond(200, "text/plain",
                                               "hello " + ex.find_slot<http::AuthenticatedUser>()->name);
                           }),
                           {*http::make_basic_auth_filter({.file = file})})});
  CHECK(run({"curl", "-sS", "-u", "user:U*U", url(server, "/")}).output == "hello user");
  CHECK(run({"curl", "-sS", "-u", "t\xc3\xa4st:secret", url(server, "/")}).output == "hello t\xc3\xa4st");
  // It asks without, and again when it is told the scheme.
  CHECK(run({"curl", "-sS", "--anyauth", "-u", "user:U*U", url(server, "/")}).output == "hello user");
  CHECK(run({"curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-u", "user:no", url(server, "/")}).output ==
        "401");
  CHECK(run({"curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", url(server, "/")}).output == "401");
  const Finished python = run({"python3", "-c",
                               "import sys, urllib.request\n"
                               "m = urllib.request.HTTPPasswordMgrWithDefaultRealm()\n"
                               "m.add_password('restricted', sys.argv[1], 'user', 'U*U')\n"
                               "o = urllib.request.build_opener(urllib.request.HTTPBasicAuthHandler(m))\n"
                               "sys.stdout.write(o.open(sys.argv[1]).read().decode())",
                               url(server, "/")});
  CAPTURE(python.errors);
  CHECK(python.output == "hello user");
}

TEST_CASE("curl follows a redirect to where path and query lead", "[integration][http][filters][tools]") {
  http::RedirectRule rule;
  rule.location = *http::Template::parse("/new/${rest}${query}");
  HttpServer server({route("/old/*", *http::make_template_redirect_handler(std::move(rule))),
                     route("/new/*", handler([](Exchange& ex) {
                             return ex.respond(200, "text/plain",
                                               std::string(ex.path()) + "?" + std::string(ex.request().query));
                           }))});
  CHECK(run({"curl", "-sS", "-L", url(server, "/old/a%20b%3Fc/%C3%A4?q=%26x")}).output == "/new/a b?c/\xc3\xa4?q=%26x");
}

TEST_CASE("Chromium lets pages of allowed origins read, and others not", "[integration][http][filters][tools]") {
  metric::Registry registry;
  const auto counter = [&](const char* name) {
    return &registry.counter(registry.family({.name = name, .help = "h"}));
  };
  const http::CorsMetrics metrics{counter("yes_total"), counter("no_total")};
  const auto data = handler([](Exchange& ex) {
    const http::Field tag{"X-Tag", "tagged"};
    return ex.respond(200, "text/plain", std::string(ex.request().method_text) + ";", {&tag, 1});
  });
  const auto page = handler([](Exchange& ex) {
    return ex.respond(200, "text/html",
                      "<!doctype html><p id=p>before</p><script type=module>\n"
                      "const said = [];\n"
                      "const ask = async (what, options) => {\n"
                      "  try { const r = await fetch('http://api.example/data', options);\n"
                      "        said.push(what + '=' + await r.text() + (r.headers.get('X-Tag') ?? 'hidden')); }\n"
                      "  catch (e) { said.push(what + '=refused'); }\n"
                      "};\n"
                      "await ask('get', {});\n"
                      "await ask('cookies', {credentials: 'include'});\n"
                      "await ask('put', {method: 'PUT', headers: {'X-Trace': '1'}, body: 'x'});\n"
                      "await ask('delete', {method: 'DELETE'});\n"
                      "await ask('field', {headers: {'X-Other': '1'}});\n"
                      "document.getElementById('p').textContent = said.join(' ');\n"
                      "</script>");
  });
  const auto cors = http::make_cors_filter(*http::CorsPolicy::make({.origins = {"http://*.site.example"},
                                                                    .methods = {"PUT"},
                                                                    .headers = {"X-Trace"},
                                                                    .expose = {"X-Tag"},
                                                                    .credentials = true}),
                                           metrics);
  HttpServer server({route("/page", page), route("/data", data, {cors})});
  const auto shown = [&](const std::string& host) {
    const TemporaryDirectory profile;
    const std::string to = "127.0.0.1:" + std::to_string(server.port());
    const Finished got =
        run({"chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
             "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic",
             "--no-first-run", "--user-data-dir=" + profile.path(), "--host-resolver-rules=MAP *.example " + to,
             "--virtual-time-budget=10000", "--dump-dom", "http://" + host + "/page"});
    const std::size_t at = got.output.find("<p id=\"p\">");
    return at == std::string::npos ? got.output + got.errors
                                   : got.output.substr(at + 10, got.output.find("</p>", at) - at - 10);
  };
  CHECK(shown("app.site.example") == "get=GET;tagged cookies=GET;tagged put=PUT;tagged delete=refused field=refused");
  CHECK(metrics.preflights->value() == 1);
  CHECK(metrics.refused->value() == 2);
  CHECK(shown("evil.example") == "get=refused cookies=refused put=refused delete=refused field=refused");
  CHECK(metrics.preflights->value() == 1);
  CHECK(metrics.refused->value() == 5);
}
