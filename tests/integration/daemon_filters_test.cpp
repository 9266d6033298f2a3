// Filters as an operator writes them, in the daemon: their order, their counters, and what check says of wrong ones.
#include <catch2/catch.hpp>
#include <string>

#include "tests/support/daemon.hpp"
#include "tests/support/decompress.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;

TEST_CASE("a site with every filter of the house", "[integration][daemon][filters]") {
  const TemporaryDirectory dir;
  const std::string users = dir.write("users", "user:$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW\n");
  std::string text;
  for (int i = 0; i < 2000; ++i) text += "line " + std::to_string(i) + "\n";
  (void)dir.write("a.txt", text);
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\n"
      "trusted_proxies: [127.0.0.1]\n"
      "listeners:\n"
      "  - name: web\n"
      "    address: \"127.0.0.1:0\"\n"
      "    http:\n"
      "      request_id: {accept: true}\n"
      "      cors: {origins: [\"https://*.a.example\"], methods: [PUT]}\n"
      "      headers: {set: {X-Content-Type-Options: nosniff, X-Asked: \"${method} ${path} by ${client}\"}, "
      "remove: [Server]}\n"
      "      cache_control: {\".txt\": \"max-age=60\"}\n"
      "      compress: {codings: [gzip, zstd], level: {gzip: 6}}\n"
      "      deny: [203.0.113.7]\n"
      "      routes:\n"
      "        - {path: /private, basic_auth: {file: \"" +
      users +
      "\"}, respond: {body: \"in $$\"}}\n"
      "        - {path: /old/*, redirect: {location: \"https://${host}/new/${rest}${query}\"}}\n"
      "        - {path: /said, respond: {status: 200, body: \"you are ${client}, request ${request_id}\"}}\n"
      "        - {path: /*, files: {root: \"" +
      dir.path() + "\"}}\n");
  HttpClient client(daemon.port("web"));
  const auto ask = [&](const std::string& path, const std::string& fields = "") {
    const auto answer = client.ask(get(path, fields));
    REQUIRE(answer);
    return *answer;
  };
  const Answer file = ask("/a.txt", "Accept-Encoding: gzip, br, zstd\r\nX-Forwarded-For: 203.0.113.9\r\n");
  CHECK(file.status == 200);
  CHECK(file.field("Content-Encoding") == "gzip");
  CHECK(decompress("gzip", file.body) == text);
  CHECK(file.field("Cache-Control") == "max-age=60");
  CHECK(file.field("X-Content-Type-Options") == "nosniff");
  CHECK(file.field("X-Asked") == "GET /a.txt by 203.0.113.9");
  CHECK(file.field("Server").empty());
  CHECK(file.field("X-Request-Id").size() == 32);
  CHECK(file.field("Vary").find("Origin") != std::string::npos);
  CHECK(file.field("Vary").find("Accept-Encoding") != std::string::npos);
  CHECK(ask("/said", "X-Request-Id: 0123456789\r\nX-Forwarded-For: 203.0.113.9\r\n").body ==
        "you are 203.0.113.9, request 0123456789");
  CHECK(ask("/old/x%20y?q=1").field("Location") == "https://a.example/new/x%20y?q=1");
  CHECK(ask("/a.txt", "X-Forwarded-For: 203.0.113.7\r\n").status == 403);
  CHECK(ask("/private").status == 401);
  CHECK(ask("/private", "Authorization: Basic dXNlcjp3cm9uZw==\r\n").status == 401);
  CHECK(ask("/private", "Authorization: Basic dXNlcjpVKlU=\r\n").body == "in $");
  const auto preflight = client.ask(
      "OPTIONS /a.txt HTTP/1.1\r\nHost: a\r\nOrigin: https://x.a.example\r\nAccess-Control-Request-Method: "
      "PUT\r\n\r\n");
  REQUIRE(preflight);
  CHECK(preflight->status == 204);
  CHECK(preflight->field("Access-Control-Allow-Methods") == "PUT");
  CHECK(daemon.metric("fiberd_http_filter_refused_total{listener=\"web\",reason=\"address\"}") == 1.0);
  CHECK(daemon.metric("fiberd_http_filter_refused_total{listener=\"web\",reason=\"credentials\"}") == 1.0);
  CHECK(daemon.metric("fiberd_http_filter_refused_total{listener=\"web\",reason=\"no_credentials\"}") == 1.0);
  CHECK(daemon.metric("fiberd_http_preflights_total{listener=\"web\"}") == 1.0);
  CHECK(daemon.metric("fiberd_http_compressed_total{listener=\"web\"}") == 1.0);
  CHECK(daemon.metric("fiberd_http_passwords_checked_total{listener=\"web\"}") == 2.0);
  CHECK(daemon.metric("fiberd_bugs_total") == 0.0);
}

TEST_CASE("check says what run would: a password file that protects nothing", "[integration][daemon][filters]") {
  const TemporaryDirectory dir;
  const std::string users = dir.write("users", "# mine\nuser:secret\n");
  const std::string config = dir.write("f.yaml",
                                       "admin: {address: off}\nlisteners: [{name: w, address: \"127.0.0.1:0\", http: "
                                       "{routes: [{path: /, basic_auth: {file: \"" +
                                           users + "\"}, respond: {body: x}}]}}]\n");
  for (const auto& command :
       {std::vector<std::string>{"check", config}, std::vector<std::string>{"run", "-c", config}}) {
    std::vector<std::string> arguments{FIBERD_BINARY};
    arguments.insert(arguments.end(), command.begin(), command.end());
    const Finished got = run(arguments);
    CAPTURE(got.output, got.errors);
    CHECK(got.code == 2);
    const std::string said = got.output + got.errors;
    CHECK(said.find("f.yaml:2:") != std::string::npos);
    CHECK(said.find("line 2: this is a password in the clear") != std::string::npos);
    CHECK(said.find("secret") == std::string::npos);
  }
}
