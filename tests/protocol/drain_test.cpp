// What has no end of its own hears that the server stops, and has the time to say good-bye.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "core/context/waits.hpp"
#include "core/http/errc.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

TEST_CASE("drain: its context is done when the stop begins, its cause says so, and the answer still leaves",
          "[http][drain]") {
  std::atomic<bool> there{false};
  std::atomic<bool> right_cause{false};
  std::atomic<bool> client_there{false};
  http::ServerOptions at_once;
  at_once.timeouts.drain = 0s;
  HttpServer server({route("/", handler([&](http::Exchange& ex) -> Result<void> {
                             if (const auto begun = ex.begin({}); !begun) return begun;
                             if (const auto sent = ex.flush(); !sent) return sent;
                             there = true;
                             (void)context::sleep(ex.drain_context(), 1h);
                             right_cause = ex.drain_context().cause() == http::errc::draining &&
                                           ex.drain_context().err() == context::errc::canceled;
                             client_there = !ex.client_context().done();
                             if (const auto sent = ex.write("bye"); !sent) return sent;
                             return ex.end();
                           }))},
                    at_once);
  HttpClient client(server.port());
  REQUIRE(client.send(get("/")));
  REQUIRE(eventually([&] { return there.load(); }));
  server.server().begin_stop();
  CHECK_FALSE(server.server().drain_context().done());  // it still serves
  CHECK(server.stop(1h) == 0);
  const auto answer = client.receive();
  REQUIRE(answer);
  CHECK(answer->body == "bye");
  CHECK(right_cause);
  CHECK(client_there);
  CHECK(http::make_error_code(http::errc::draining) == std::errc::operation_canceled);
}

TEST_CASE("426 says in Connection that Upgrade is of this connection", "[http]") {
  HttpServer server({route("/", handler([&](http::Exchange& ex) -> Result<void> {
                             const http::Field upgrade{"Upgrade", "other"};
                             return ex.respond_error(426, {&upgrade, 1});
                           }))});
  HttpClient client(server.port());
  CHECK(client.ask(get("/")).value_or(Answer{}).field("Connection") == "upgrade");
  CHECK(client.ask(get("/", "Connection: close\r\n")).value_or(Answer{}).field("Connection") == "upgrade, close");
}
