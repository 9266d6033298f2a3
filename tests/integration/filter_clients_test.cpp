// The filters that come with the house, asked by programs that know nothing of it: curl, Python, Chromium.
#include <signal.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/http/filters/access_filter.hpp"
#include "core/http/filters/basic_auth_filter.hpp"
#include "core/http/filters/cache_control_filter.hpp"
#include "core/http/filters/compression_filter.hpp"
#include "core/http/filters/cors_filter.hpp"
#include "core/http/filters/headers_filter.hpp"
#include "core/http/filters/redirect_filter.hpp"
#include "core/http/filters/request_id_filter.hpp"
#include "core/metric/registry.hpp"
#include "tests/integration/compressible_text.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using http::Exchange;

namespace {

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

TEST_CASE("curl and Python see what is set, named, kept and refused", "[integration][http][filters][tools]") {
  const auto ranges = [](const char* range) {
    net::AddressRanges made;
    REQUIRE(made.add(range));
    return made;
  };
  const auto id =
      handler([](Exchange& ex) { return ex.respond(200, "text/css", ex.find_slot<http::RequestId>()->text); });
  const auto access = [](net::AddressRanges allow, net::AddressRanges deny) {
    http::AccessOptions of;
    of.allow = std::move(allow);
    of.deny = std::move(deny);
    return http::make_access_filter(std::move(of));
  };
  http::ServerOptions options;
  http::HeadersOptions fields;
  fields.set = {{"Strict-Transport-Security", *http::Template::parse("max-age=1")},
                {"X-Asked", *http::Template::parse("${method} ${path}")}};
  fields.add = {{"Link", *http::Template::parse("</a.css>; rel=preload")}};
  fields.remove = {"Server"};
  options.filters = {*http::make_request_id_filter({.trusted = ranges("127.0.0.1")}),
                     *http::make_headers_filter(std::move(fields)),
                     http::make_cache_control_filter(*http::CacheRules::make({{"text/css", "max-age=60"}}))};
  options.server_name = "fiberd";
  HttpServer server({route("/id", id), route("/in", id, {access(ranges("127.0.0.0/8"), {})}),
                     route("/out", id, {access({}, ranges("127.0.0.1"))})},
                    std::move(options));
  const std::string format =
      "%{http_code}|%header{strict-transport-security}|%header{x-asked}|%header{link}|%header{server}|%header{cache-"
      "control}|"
      "%header{x-request-id}";
  const auto curl = [&](const std::string& path, std::vector<std::string> more = {}) {
    std::vector<std::string> arguments{"curl", "-sS", "-w", "%{stderr}" + format, url(server, path)};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  };
  const Finished named = curl("/id", {"-H", "X-Request-Id: from-the-proxy-1"});
  CHECK(named.output == "from-the-proxy-1");
  CHECK(named.errors == "200|max-age=1|GET /id|</a.css>; rel=preload||max-age=60|from-the-proxy-1");
  const Finished fresh = curl("/in");
  CHECK(fresh.output.size() == 32);
  CHECK(fresh.errors.ends_with("|" + fresh.output));
  CHECK(curl("/out").errors.starts_with("403|max-age=1|GET /out|"));
  CHECK(curl("/id", {"-I"}).errors.starts_with("200|max-age=1|HEAD /id|"));
  const Finished python = run({"python3", "-c",
                               "import sys, urllib.request, urllib.error\n"
                               "r = urllib.request.urlopen(sys.argv[1] + '/id')\n"
                               "h = r.headers\n"
                               "print(h.get_all('Link'), h['Server'], h['Cache-Control'], h['X-Request-Id'] == "
                               "r.read().decode())\n"
                               "try: urllib.request.urlopen(sys.argv[1] + '/out')\n"
                               "except urllib.error.HTTPError as e: print(e.code, e.headers['X-Asked'])",
                               url(server, "")});
  CAPTURE(python.errors);
  CHECK(python.output == "['</a.css>; rel=preload'] None max-age=60 True\n403 GET /out\n");
}

TEST_CASE("nginx in front says who the client is, and one who is not in front says nothing",
          "[integration][http][filters][tools]") {
  if (run({"sh", "-c", "command -v nginx"}).code != 0) {
    WARN("nginx is not installed: left out");
    return;
  }
  const TemporaryDirectory dir;
  const std::string socket = dir.path() + "/front";
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\ntrusted_proxies: [\"unix:\", 192.0.2.0/24]\nlisteners:\n"
      "- {name: behind, address: \"unix:" +
      socket +
      "\", mode: 0666, http: {deny: [198.51.100.7], headers: {set: {X-Scheme: \"${scheme}\"}}, routes: [{path: /, "
      "respond: {body: \"${client}\"}}]}}\n"
      "- {name: open, address: \"127.0.0.1:0\", http: {deny: [198.51.100.7], routes: [{path: /, respond: {body: "
      "\"${client}\"}}]}}\n");
  const std::string front = dir.path() + "/nginx";
  const std::string conf = dir.write(
      "nginx.conf", "daemon off; master_process off; worker_processes 1; pid " + dir.path() +
                        "/pid; error_log stderr;\nevents { worker_connections 64; }\nhttp { access_log off; "
                        "client_body_temp_path " +
                        dir.path() + "/b; proxy_temp_path " + dir.path() + "/p; fastcgi_temp_path " + dir.path() +
                        "/f; uwsgi_temp_path " + dir.path() + "/u; scgi_temp_path " + dir.path() +
                        "/s;\n server { listen unix:" + front +
                        "; set_real_ip_from unix:; real_ip_header X-Test-Client;\n"
                        "  location / { proxy_pass http://unix:" +
                        socket +
                        ":; proxy_http_version 1.1; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; "
                        "proxy_set_header X-Forwarded-Proto https; } } }\n");
  Process nginx({.arguments = {"nginx", "-c", conf, "-p", dir.path(), "-e", "stderr"}});
  const auto asked = [&](std::vector<std::string> more) {
    std::vector<std::string> arguments{"curl", "-sS", "-w", " %{http_code} %header{x-scheme}"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run(arguments);
  };
  // The client's address is told to nginx by the test: all who ask here are this machine.
  const auto through = [&](const std::string& client, const std::string& lie) {
    std::vector<std::string> more{"--unix-socket", front, "-H", "X-Test-Client: " + client, "http://a.example/"};
    if (!lie.empty()) more.insert(more.end(), {"-H", "X-Forwarded-For: " + lie, "-H", "X-Forwarded-Proto: http"});
    return asked(more).output;
  };
  INFO(nginx.errors());
  REQUIRE(eventually([&] { return asked({"--unix-socket", front, "http://a.example/"}).code == 0; }));
  CHECK(through("203.0.113.9", "") == "203.0.113.9 200 https");
  CHECK(through("2001:db8::9", "") == "2001:db8::9 200 https");
  CHECK(through("203.0.113.9", "198.51.100.7") == "203.0.113.9 200 https");
  CHECK(through("198.51.100.7", "203.0.113.9").ends_with(" 403 "));
  const std::string direct = "http://127.0.0.1:" + std::to_string(daemon.port("open")) + "/";
  CHECK(asked({"-H", "X-Forwarded-For: 198.51.100.7", direct}).output == "127.0.0.1 200 ");
  nginx.signal(SIGTERM);
  CHECK(nginx.wait().has_value());
  CHECK(daemon.stop() == 0);
}
