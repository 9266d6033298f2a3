// Server-sent events: what browsers are given to read, the heart-beat, and the ends.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "core/context/waits.hpp"
#include "core/http/errc.hpp"
#include "core/http/event_stream.hpp"
#include "core/sync/channel.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;
using http::Event;
using http::EventStream;

namespace {

http::Route events_route(std::function<Result<void>(EventStream&)> fn, http::EventOptions options = {}) {
  return route("/", handler([fn = std::move(fn), options](http::Exchange& ex) -> Result<void> {
                 const auto events = ex.events(options);
                 if (!events || *events == nullptr) return as_result(error_of(events));
                 return fn(**events);
               }));
}

}  // namespace

TEST_CASE("events: how they are written", "[protocol][events]") {
  std::atomic<int> taken{0};
  HttpServer server({events_route(
      [&](EventStream& events) -> Result<void> {
        const Event good[] = {{.data = "plain"},
                              {.data = "two\nlines", .event = "news", .id = "7"},
                              {.data = "a\r\nb\rc\n", .id = "", .retry = 0ms},
                              {.data = "", .event = "empty"}};
        const std::string asked = "after " + std::string(events.last_event_id());
        for (const Event& e : good)
          if (const auto sent = events.send(e); !sent) return sent;
        if (const auto sent = events.send({.data = asked}); !sent) return sent;
        const std::string nul("a\0b", 3);
        const Event bad[] = {{.data = "x", .event = "a\nb"},
                             {.data = "x", .event = "a\rb"},
                             {.data = "x", .id = "1\n"},
                             {.data = "x", .id = nul},
                             {.data = "\xff"},
                             {.data = "x", .retry = -1ms}};
        for (const Event& e : bad)
          if (events.send(e)) ++taken;
        return {};
      },
      {.retry = 2500ms})});
  HttpClient client(server.port());
  const Answer answer = client.ask(get("/", "Last-Event-ID: 6\r\n")).value_or(Answer{});
  CHECK(answer.status == 200);
  CHECK(answer.field("Content-Type") == "text/event-stream");
  CHECK(answer.field("Cache-Control") == "no-cache");
  CHECK(answer.field("X-Accel-Buffering") == "no");
  CHECK(answer.body ==
        "retry: 2500\n\n"
        "data: plain\n\n"
        "id: 7\nevent: news\ndata: two\ndata: lines\n\n"
        "id: \nretry: 0\ndata: a\ndata: b\ndata: c\ndata: \n\n"
        "event: empty\ndata: \n\n"
        "data: after 6\n\n");
  CHECK(taken == 0);
  // The connection goes on.
  CHECK(client.ask("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", true).value_or(Answer{}).status == 200);
  CHECK(client.ask(get("/")).value_or(Answer{}).status == 200);
}

TEST_CASE("events: a heart-beat while the handler waits, and what it waited for is not lost", "[protocol][events]") {
  sync::Channel<std::string> news(1);
  HttpServer server({events_route(
      [&](EventStream& events) -> Result<void> {
        for (;;) {
          const auto item = events.wait([&](const context::Context& ctx) { return news.receive(ctx); });
          if (!item) return {};
          if (const auto sent = events.send({.data = *item}); !sent) return sent;
        }
      },
      {.heartbeat = 20ms})});
  HttpClient client(server.port());
  REQUIRE(client.send(get("/")));
  const auto comes = [&](std::string_view what) {
    const std::size_t from = client.rest().size();
    while (client.rest().find(what, from) == std::string::npos)
      if (!client.more()) return false;
    return true;
  };
  REQUIRE(comes(":\n\n"));
  REQUIRE(comes(":\n\n"));
  REQUIRE(comes(":\n\n"));
  server.runtime().run([&] { (void)news.send("one"); });
  REQUIRE(comes("data: one\n\n"));
  REQUIRE(comes(":\n\n"));
  server.runtime().run([&] { (void)news.close(); });
  const Answer answer = client.receive().value_or(Answer{});
  CHECK(answer.body.find("data: one\n\n") != std::string::npos);
}

TEST_CASE("events: a client that leaves, and a stop, end it", "[protocol][events][stop]") {
  std::atomic<bool> there{false};
  std::atomic<bool> over{false};
  std::atomic<bool> drained{false};
  sync::Channel<int> never(1);
  http::ServerOptions at_once;
  at_once.timeouts.drain = 0s;
  HttpServer server({events_route([&](EventStream& events) -> Result<void> {
                      there = true;
                      (void)events.wait([&](const context::Context& ctx) { return never.receive(ctx); });
                      drained = events.context().cause() == http::errc::draining;
                      if (events.send({.data = "late"})) drained = false;  // it is over
                      over = true;
                      return {};
                    })},
                    at_once);
  HttpClient client(server.port());
  REQUIRE(client.send(get("/")));
  REQUIRE(eventually([&] { return there.load(); }));
  SECTION("the client") {
    client.finish_sending();
    CHECK(eventually([&] { return over.load(); }));
    CHECK_FALSE(drained);
    CHECK(eventually([&] { return server.server().connections() == 0; }));
  }
  SECTION("a stop") {
    CHECK(server.stop(1h) == 0);
    CHECK(drained);
    CHECK(client.receive().value_or(Answer{}).body == ":\n\n");  // with its last chunk
  }
}
