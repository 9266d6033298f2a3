// The daemon's stop as its HTTP clients see it: what was said to go on is served, and told to end.
#include <signal.h>

#include <catch2/catch.hpp>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::string site_that_stops(const std::string& shutdown, const std::string& route) {
  return "admin: {address: \"127.0.0.1:0\"}\n" + shutdown +
         "listeners:\n"
         "  - name: web\n"
         "    address: \"127.0.0.1:0\"\n"
         "    http:\n"
         "      routes:\n"
         "        - {path: /hello, respond: {body: hello}}\n"
         "        - {path: /body, " +
         route + "}\n";
}

constexpr std::string_view kPostHead = "POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n";

bool is_active(const Daemon& daemon) {
  return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1.0;
}

}  // namespace

TEST_CASE("SIGTERM between a request's head and its body: the answer says that it is the last",
          "[integration][daemon][stop]") {
  for (const bool own : {false, true}) {
    INFO("own: " << own);
    Daemon daemon(site_that_stops("", own ? "handler: collects" : "echo: {}"),
                  {.program = own ? FIBERD_OWN_HANDLERS : FIBERD_BINARY});
    HttpClient client(daemon.port("web"));
    REQUIRE(client.ask(get("/hello")).has_value());
    REQUIRE(client.send(kPostHead));
    REQUIRE(eventually([&] { return is_active(daemon); }));
    daemon.process().signal(SIGTERM);
    REQUIRE(daemon.wait_for_log("SIGTERM"));
    REQUIRE(client.send("0123456789"));
    const Answer answer = client.receive().value_or(Answer{});
    CHECK(answer.status == 200);
    CHECK(answer.body == (own ? "10" : "0123456789"));
    CHECK(answer.field("Connection") == "close");
    CHECK(client.wait_end());
    CHECK(daemon.process().wait() == 0);
    CHECK(daemon.log().find("were cut") == std::string::npos);
  }
}

TEST_CASE("early in a stop, too, answers say that the connection ends", "[integration][daemon][stop]") {
  Daemon daemon(site_that_stops("shutdown: {delay: 1h}\n", "echo: {}"));
  HttpClient kept(daemon.port("web"));
  HttpClient admin(daemon.port("admin"));
  REQUIRE(kept.ask(get("/hello")).value_or(Answer{}).field("Connection").empty());
  REQUIRE(admin.ask(get_admin("/healthz")).value_or(Answer{}).field("Connection").empty());
  daemon.process().signal(SIGTERM);
  REQUIRE(daemon.wait_for_log("SIGTERM"));
  HttpClient fresh(daemon.port("web"));
  for (HttpClient* const client : {&kept, &fresh, &admin}) {
    const Answer answer = client->ask(client == &admin ? get_admin("/healthz") : get("/hello")).value_or(Answer{});
    CHECK(answer.status == 200);
    CHECK(answer.field("Connection") == "close");
    CHECK(client->wait_end());
  }
  CHECK(daemon.stop_again());
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("shutdown.idle: a kept connection's next request is served after the listener has closed",
          "[integration][daemon][stop]") {
  Daemon daemon(site_that_stops("shutdown: {idle: 1h, timeout: 1h}\n", "echo: {}"));
  HttpClient kept(daemon.port("web"));
  REQUIRE(kept.ask(get("/hello")).value_or(Answer{}).field("Connection").empty());
  daemon.process().signal(SIGTERM);
  REQUIRE(daemon.wait_for_log("SIGTERM"));
  REQUIRE(eventually([&] {
    try {
      HttpClient refused(daemon.port("web"));
      return false;
    } catch (const std::system_error&) {
      return true;
    }
  }));
  const Answer answer = kept.ask(get("/hello")).value_or(Answer{});
  CHECK(answer.body == "hello");
  CHECK(answer.field("Connection") == "close");
  CHECK(kept.wait_end());
  CHECK(daemon.process().wait() == 0);
  CHECK(daemon.log().find("were cut") == std::string::npos);
}
