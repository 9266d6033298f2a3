// Filters that misbehave, and what a client sees of it: one clean answer, or an end of the connection.
#include <atomic>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <string>

#include "core/base/bug.hpp"
#include "core/http/filter.hpp"
#include "core/metric/registry.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/kept_log.hpp"

using namespace fiberd;
using namespace fiberd::test;
using http::Exchange;
using http::Next;

#ifdef NDEBUG  // each of them is a BUG, which ends a debug build
TEST_CASE("filters that do not keep to the rules", "[integration][http][filters]") {
  const SilentLog silence;
  metric::Registry registry;
  http::ServerOptions options;
  metric::Counter& panics =
      *(options.metrics.panics = &registry.counter(registry.family({.name = "panics_total", .help = "h"})));
  std::atomic<int> served{0};
  const auto counted = handler([&](Exchange& ex) {
    ++served;
    return ex.respond(200, "text/plain", "hello");
  });
  const auto throws_before = http::make_filter([](Exchange&, Next) -> Result<void> { throw std::runtime_error("x"); });
  const auto throws_behind = http::make_filter([](Exchange& ex, Next next) -> Result<void> {
    (void)next(ex);
    throw std::runtime_error("x");
  });
  const auto never_calls = http::make_filter([](Exchange&, Next) -> Result<void> { return {}; });
  const auto calls_twice = http::make_filter([](Exchange& ex, Next next) -> Result<void> {
    const Result<void> first = next(ex);
    CHECK(next(ex).error() == std::errc::operation_not_permitted);
    return first;
  });
  const auto answers_twice = http::make_filter([](Exchange& ex, Next next) -> Result<void> {
    if (const Result<void> sent = ex.respond(403, "text/plain", "no"); !sent) return sent;
    CHECK_FALSE(ex.respond(200, "text/plain", "yes"));
    (void)next(ex);
    return {};
  });
  const auto answers_behind = http::make_filter([](Exchange& ex, Next next) -> Result<void> {
    const Result<void> first = next(ex);
    CHECK(ex.status() == 200);
    CHECK_FALSE(ex.respond(500, "text/plain", "late"));
    return first;
  });
  const auto fails = http::make_filter([](Exchange&, Next) -> Result<void> { return fail(std::errc::io_error); });
  const auto commits_and_throws = handler([](Exchange& ex) -> Result<void> {
    if (const Result<void> sent = ex.begin({.status = 200}); !sent) return sent;
    if (const Result<void> sent = ex.write("part"); !sent) return sent;
    if (const Result<void> sent = ex.flush(); !sent) return sent;
    throw std::runtime_error("x");
  });
  const auto looks = http::make_filter([](Exchange& ex, Next next) -> Result<void> {
    const Result<void> rest = next(ex);
    // What the handler threw has become an answer, or its end, before this goes on.
    CHECK(ex.committed());
    return rest;
  });
  HttpServer server(
      {route("/throws", counted, {throws_before}), route("/throws-behind", counted, {throws_behind}),
       route("/never", counted, {never_calls}), route("/twice", counted, {calls_twice}),
       route("/two-answers", counted, {answers_twice}), route("/behind", counted, {answers_behind}),
       route("/fails", counted, {fails}), route("/commits", commits_and_throws, {looks}),
       route("/panics", handler([](Exchange&) -> Result<void> { throw std::runtime_error("x"); }), {looks}),
       route("/", counted)},
      std::move(options));
  const auto status = [&](std::string_view path, bool goes_on = true) {
    HttpClient client(server.port());
    const auto answer = client.ask(get(path));
    if (!answer) return 0U;
    // The connection still is one: nothing that was not asked for stands between two answers.
    if (goes_on) {
      const auto next = client.ask(get("/"));
      CHECK((next && next->status == 200));
    }
    return answer->status;
  };
  CHECK(status("/throws") == 500);
  CHECK(served == 1);  // of "/"
  CHECK(status("/throws-behind") == 200);
  CHECK(status("/never") == 500);
  served = 0;
  CHECK(status("/twice") == 200);
  CHECK(served == 2);  // once, and "/"
  CHECK(status("/two-answers", false) == 403);
  CHECK(status("/behind") == 200);
  CHECK(status("/fails", false) == 500);
  CHECK(status("/panics") == 500);
  CHECK(panics.value() == 3);
  // A head that is out cannot be taken back: the client sees that the body is cut.
  HttpClient client(server.port());
  client.send(get("/commits"));
  while (client.more()) {
  }
  CHECK(client.rest().find("200 OK") != std::string::npos);
  CHECK(client.rest().find("part") != std::string::npos);
  CHECK(client.rest().find("0\r\n\r\n") == std::string::npos);
  CHECK(panics.value() == 4);
}
#endif
