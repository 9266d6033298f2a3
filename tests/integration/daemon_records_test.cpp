// What an operator asks of logs and pages, in the daemon: access logs in each format, chosen and per route, the error
// pages of routes, media types, and the counters of traffic.
#include <algorithm>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/integration/conversations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

std::string proxied_site(const std::string& keys, const std::string& routes) {
  return "runtime: {gomaxprocs: 1}\nadmin: {address: \"127.0.0.1:0\"}\ntrusted_proxies: [127.0.0.1]\nlisteners:\n"
         "  - name: web\n    address: \"127.0.0.1:0\"\n    http:\n" +
         keys + "      routes:\n" + routes;
}

std::string counter(const std::string& name, const std::string& route) {
  return name + "{listener=\"web\",route=\"" + route + "\"}";
}

}  // namespace

TEST_CASE("access logs of a site: formats, the real client, ids, reasons, per route",
          "[integration][daemon][records]") {
  const TemporaryDirectory dir;
  const std::string main = dir.path() + "/main.log";
  const std::string other = dir.path() + "/other.log";
  Daemon daemon(proxied_site(
      "      request_id: {accept: true}\n"
      "      deny: [203.0.113.7]\n"
      "      limits: {body_size: 10}\n"
      "      access_log:\n"
      "        format: template\n"
      "        template: '${client} ${request_id} ${host} ${method} ${path} ${query} ${protocol} ${route} ${status} "
      "${bytes_in} ${bytes_out} ${reason} \"${user_agent}\"'\n"
      "        output: " +
          main +
          "\n"
          "        not_paths: [/healthz, /static/*]\n",
      "        - {path: /a, respond: {body: hello}}\n"
      "        - {path: /healthz, respond: {body: x}}\n"
      "        - {path: /static/*, respond: {body: x}}\n"
      "        - {path: /echo, methods: [POST], echo: {}}\n"
      "        - {path: /once, rate_limit: {rate: 1/h, burst: 1}, respond: {body: x}}\n"
      "        - {path: /off, access_log: {format: off}, respond: {body: x}}\n"
      "        - {path: /errors, access_log: {only: errors}, respond: {status: 503, body: x}}\n"
      "        - {path: /fine, access_log: {only: errors}, respond: {body: x}}\n"
      "        - {path: /json, access_log: {format: json, output: " +
          other +
          "}, respond: {body: x}}\n"
          "        - {path: /combined, access_log: {format: combined, output: " +
          other + "}, respond: {body: x}}\n"));
  HttpClient client(daemon.port("web"));
  unsigned made = 0;
  const auto fields = [&](const std::string& rest = {}) {
    ++made;
    return "X-Request-Id: request-" + std::to_string(made) + "\r\nX-Forwarded-For: 192.0.2." + std::to_string(made) +
           "\r\n" + rest;
  };
  const auto ask = [&](const std::string& path, const std::string& rest = {}) {
    const auto answer = client.ask(get(path, fields(rest)));
    return answer ? answer->status : 0U;
  };
  CHECK(ask("/a?x=%20", "User-Agent: a \"b\" \xc3\xa9\r\n") == 200);  // 1
  for (const char* path : {"/healthz", "/static/x", "//healthz", "/%73tatic/../static/y"})
    CHECK(ask(path) == 200);  // 2–5
  CHECK(client.ask("POST /echo HTTP/1.1\r\nHost: b.example:80\r\n" + fields("Content-Length: 4\r\n\r\nbody"))
            .value()
            .status == 200);                                          // 6
  CHECK(ask("/once") == 200);                                         // 7
  CHECK(ask("/once") == 429);                                         // 8
  CHECK(ask("/off") == 200);                                          // 9
  CHECK(ask("/errors") == 503);                                       // 10
  CHECK(ask("/fine") == 200);                                         // 11
  CHECK(ask("/json", "User-Agent: j\r\n") == 200);                    // 12
  CHECK(ask("/combined", "Referer: r\r\nUser-Agent: c\r\n") == 200);  // 13
  CHECK(ask("/none") == 404);                                         // 14
  // Answers of one send each have their own client and id: what the log is told of them waits until they have left.
  std::string batch;
  for (int i = 0; i < 3; ++i) batch += get("/a", fields());  // 15–17
  REQUIRE(client.send(batch));
  for (int i = 0; i < 3; ++i) REQUIRE(client.receive());
  HttpClient denied(daemon.port("web"));
  CHECK(denied.ask(get("/a", "X-Request-Id: request-18\r\nX-Forwarded-For: 203.0.113.7\r\n")).value().status == 403);
  made = 18;
  CHECK(
      denied.ask("POST /echo HTTP/1.1\r\nHost: a.example\r\n" + fields("Content-Length: 99\r\n\r\n")).value().status ==
      413);
  HttpClient broken(daemon.port("web"));
  CHECK(broken.ask("GET / HTTP/1.1\r\nHost : a\r\n\r\n").value().status == 400);
  CHECK(daemon.stop() == 0);
  const std::string text = read_file(main);
  // What the listener's or a route's limit refuses has not come to the filters, so it has no id.
  const std::string expected =
      "192.0.2.1 request-1 a.example GET /a ?x=%20 HTTP/1.1 /a 200 0 5 - \"a \\\"b\\\" \\xc3\\xa9\"\n"
      "192.0.2.6 request-6 b.example:80 POST /echo - HTTP/1.1 /echo\\x20POST 200 4 4 - \"-\"\n"
      "192.0.2.7 request-7 a.example GET /once - HTTP/1.1 /once 200 0 1 - \"-\"\n"
      "192.0.2.8 - a.example GET /once - HTTP/1.1 /once 429 0 22 rate_limit \"-\"\n"
      "192.0.2.14 request-14 a.example GET /none - HTTP/1.1 - 404 0 33 - \"-\"\n"
      "192.0.2.15 request-15 a.example GET /a - HTTP/1.1 /a 200 0 5 - \"-\"\n"
      "192.0.2.16 request-16 a.example GET /a - HTTP/1.1 /a 200 0 5 - \"-\"\n"
      "192.0.2.17 request-17 a.example GET /a - HTTP/1.1 /a 200 0 5 - \"-\"\n"
      "203.0.113.7 request-18 a.example GET /a - HTTP/1.1 /a 403 0 33 address \"-\"\n"
      "192.0.2.19 request-19 a.example POST /echo - HTTP/1.1 - 413 0 41 body_too_large \"-\"\n";
  // Lines of a log stand in order; those of the three that write here do not among each other.
  std::string rest = text;
  const std::string errors = "192.0.2.10 request-10 a.example GET /errors - HTTP/1.1 /errors 503 0 1 - \"-\"\n";
  const std::size_t at = rest.find(errors);
  REQUIRE(at != std::string::npos);
  rest.erase(at, errors.size());
  const std::size_t last = rest.find("127.0.0.1 - ");
  REQUIRE(last != std::string::npos);
  CHECK(rest.substr(0, last) == expected);
  CHECK(rest.substr(last).find(" 400 0 ") != std::string::npos);
  CHECK(rest.substr(last).find(" space_before_colon \"-\"\n") != std::string::npos);
  const std::string others = read_file(other);
  CAPTURE(others);
  CHECK(std::count(others.begin(), others.end(), '\n') == 2);
  CHECK(others.find("\"client\":\"192.0.2.12\",\"host\":\"a.example\",\"route\":\"/json\",\"method\":\"GET\"") !=
        std::string::npos);
  CHECK(others.find("\"request_id\":\"request-12\",\"user_agent\":\"j\"") != std::string::npos);
  CHECK(others.find("192.0.2.13 - - [") != std::string::npos);
  CHECK(others.find("] \"GET /combined HTTP/1.1\" 200 1 \"r\" \"c\"\n") != std::string::npos);
}

TEST_CASE("a reload: a log's settings change, and no line is lost or twice", "[integration][daemon][records][reload]") {
  const TemporaryDirectory dir;
  const std::string log = dir.path() + "/log";
  const auto with = [&](const std::string& line, const std::string& keys) {
    return proxied_site(
        "      access_log: {format: template, template: \"" + line + "\", output: " + log + "}\n" + keys,
        "        - {path: /*, respond: {body: x}}\n");
  };
  Daemon daemon(with("one ${target}", ""));
  HttpClient client(daemon.port("web"));
  std::string expected;
  const auto ask = [&](const std::string& path) { CHECK(client.ask(get(path)).value().status == 200); };
  ask("/1");
  daemon.write_config(with("one ${target}", "      server: other\n"));
  REQUIRE(reload(daemon).status == 200);
  ask("/2");
  daemon.write_config(with("two ${target} ${status}", ""));
  REQUIRE(reload(daemon).status == 200);
  ask("/3");
  daemon.write_config(with("${none}", ""));
  REQUIRE(reload(daemon).status == 422);
  daemon.write_config(with(std::string(4'090, 'x') + "${target}", ""));
  REQUIRE(reload(daemon).status == 422);
  ask("/4");
  CHECK(daemon.stop() == 0);
  std::string text = read_file(log);
  const std::size_t two = text.find("two /3 200\ntwo /4 200\n");
  REQUIRE(two != std::string::npos);
  text.erase(two, std::string("two /3 200\ntwo /4 200\n").size());
  CHECK(text == "one /1\none /2\n");
}

TEST_CASE("error pages of a route, and of an error that a route answers with", "[integration][daemon][records]") {
  const TemporaryDirectory dir;
  const std::string site_page = dir.write("404.html", "<p>nothing here</p>");
  const std::string shop_page = dir.write("shop.page", "the shop has none");
  (void)dir.write("files/a.png", "x");
  (void)dir.write("files/a.own", "y");
  (void)dir.write("files/a.css", "z");
  Daemon daemon(
      proxied_site("      error_pages: {404: " + site_page + ", 503: " + site_page +
                       "}\n"
                       "      mime_types: {.PNG: image/x-own, .own: \"text/own; charset=utf-8\", .page: text/x-page}\n",
                   "        - {path: /gone, respond: {status: 410, headers: {X-Asked: \"${path}\", Retry-After: 5}}}\n"
                   "        - {path: /missing, respond: {status: 404}}\n"
                   "        - {path: /empty, respond: {status: 404, body: \"\"}}\n"
                   "        - path: /shop/*\n"
                   "          error_pages: {404: " +
                       shop_page + ", 413: " + shop_page +
                       "}\n"
                       "          body_size: 2\n"
                       "          files: {root: " +
                       dir.path() + "/files}\n" +
                       "        - {path: /up, body_size: 2, error_pages: {413: " + shop_page + "}, echo: {}}\n"));
  HttpClient client(daemon.port("web"));
  const auto ask = [&](const std::string& path, const std::string& fields = {}) {
    const auto answer = client.ask(get(path, fields));
    REQUIRE(answer);
    return *answer;
  };
  Answer got = ask("/missing");
  CHECK(got.status == 404);
  CHECK(got.body == "<p>nothing here</p>");
  CHECK(got.field("Content-Type") == "text/html; charset=utf-8");
  got = ask("/gone", "Accept: application/json\r\n");
  CHECK(got.status == 410);
  CHECK(got.field("Content-Type") == "application/problem+json");
  CHECK(got.body.find("\"status\":410") != std::string::npos);
  CHECK(got.field("X-Asked") == "/gone");
  CHECK(got.field("Retry-After") == "5");
  CHECK(got.field("Vary") == "Accept");
  CHECK(ask("/gone").body == "410 Gone\n");
  CHECK(ask("/gone", "Accept: text/html\r\n").body.find("<h1>410 Gone</h1>") != std::string::npos);
  got = ask("/empty");
  CHECK(got.status == 404);
  CHECK(got.body.empty());
  got = ask("/shop/none");
  CHECK(got.status == 404);
  CHECK(got.body == "the shop has none");
  CHECK(got.field("Content-Type") == "text/x-page");
  CHECK(ask("/none").body == "<p>nothing here</p>");
  CHECK(ask("/shop/a.png").field("Content-Type") == "image/x-own");
  CHECK(ask("/shop/a.own").field("Content-Type") == "text/own; charset=utf-8");
  CHECK(ask("/shop/a.own", "Range: bytes=0-0\r\n").field("Content-Type") == "text/own; charset=utf-8");
  CHECK(ask("/shop/a.css").field("Content-Type") == "text/css; charset=utf-8");
  // What the route refuses of a request has the route's page, too.
  const auto large = client.ask("POST /up HTTP/1.1\r\nHost: a.example\r\nContent-Length: 3\r\n\r\n");
  REQUIRE(large);
  CHECK(large->status == 413);
  CHECK(large->body == "the shop has none");
}

TEST_CASE("bytes and requests in flight are counted by route", "[integration][daemon][records][metrics]") {
  Daemon daemon(proxied_site("", "        - {path: /a, respond: {body: hello}}\n        - {path: /echo, echo: {}}\n"));
  const auto value = [&](const std::string& name, const std::string& route) {
    return daemon.metric(counter(name, route)).value_or(-1);
  };
  const std::string received = "fiberd_http_received_bytes_total";
  const std::string sent = "fiberd_http_sent_bytes_total";
  const std::string flight = "fiberd_http_requests_in_flight";
  CHECK(value(received, "/a") == 0);
  CHECK(value(flight, "/a") == 0);
  HttpClient client(daemon.port("web"));
  std::size_t in = 0;
  std::size_t out = 0;
  for (int i = 0; i < 3; ++i) {
    const std::string request = get("/a", "X-Longer: " + std::string(static_cast<std::size_t>(i), 'x') + "\r\n");
    in += request.size();
    const auto answer = client.ask(request);
    REQUIRE(answer);
    out += answer->head.size() + answer->body.size();
  }
  // What is counted is counted before the next request of the connection is answered.
  const std::string batch = get("/a") + get("/a") + get("/none");
  REQUIRE(client.send(batch));
  std::size_t none = 0;
  for (int i = 0; i < 3; ++i) {
    const auto answer = client.receive();
    REQUIRE(answer);
    (i < 2 ? out : none) += answer->head.size() + answer->body.size();
  }
  in += 2 * get("/a").size();
  // A body that comes in pieces, whose request is in flight meanwhile.
  const std::string head = "POST /echo HTTP/1.1\r\nHost: a.example\r\nContent-Length: 10\r\n\r\n";
  REQUIRE(client.send(head + "01234"));
  CHECK(eventually([&] { return value(flight, "/echo") == 1; }));
  CHECK(value(flight, "/a") == 0);
  CHECK(value(received, "/a") == static_cast<double>(in));
  CHECK(value(sent, "/a") == static_cast<double>(out));
  CHECK(value(received, "none") == static_cast<double>(get("/none").size()));
  CHECK(value(sent, "none") == static_cast<double>(none));
  REQUIRE(client.send("56789"));
  const auto echoed = client.receive();
  REQUIRE(echoed);
  CHECK(eventually([&] { return value(flight, "/echo") == 0; }));
  CHECK(value(received, "/echo") == static_cast<double>(head.size() + 10));
  CHECK(value(sent, "/echo") == static_cast<double>(echoed->head.size() + 10));
  // A head that is no request, and one whose client leaves before its end.
  HttpClient broken(daemon.port("web"));
  const std::string wrong = "GET / HTTP/1.1\r\nHost : a\r\n\r\n";
  REQUIRE(broken.ask(wrong));
  CHECK(eventually([&] { return value(received, "none") == static_cast<double>(get("/none").size() + wrong.size()); }));
  {
    HttpClient leaves(daemon.port("web"));
    REQUIRE(leaves.send(head + "0"));
    CHECK(eventually([&] { return value(flight, "/echo") == 1; }));
  }
  CHECK(eventually([&] { return value(flight, "/echo") == 0; }));
  CHECK(value(flight, "none") == 0);
  CHECK(daemon.metric("fiberd_bugs_total") == 0.0);
  CHECK(daemon.stop() == 0);
}
