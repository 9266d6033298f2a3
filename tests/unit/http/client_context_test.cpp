// The contexts that handlers are given: what ends them, and what does not.
#include "core/http/client_context.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <optional>
#include <string>
#include <thread>

#include "core/base/lock.hpp"
#include "core/context/live_contexts.hpp"
#include "core/context/waits.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;
using context::Context;
using context::errc;

namespace {

/// A route whose handler waits under its context and then answers with what ended the wait.
struct Waiter {
  std::atomic<int> inside{0};
  std::atomic<int> ended{0};
  Lock lock;
  std::error_code error;
  std::error_code cause;
  std::chrono::nanoseconds patience = 20s;
  bool by_client = false;  // waits under the connection's context

  http::Route route(std::optional<std::chrono::nanoseconds> timeout = {}, std::string path = "/wait") {
    http::Route r{.spec = {.path = std::move(path)},
                  .handler = handler([this](http::Exchange& ex) {
                    const Context& ctx = by_client ? ex.client_context() : ex.context();
                    ++inside;
                    const std::error_code e = error_of(context::sleep(ctx, patience));
                    {
                      const LockGuard guard(lock);
                      error = e;
                      cause = ctx.cause();
                    }
                    ++ended;
                    return ex.respond(200, "text/plain", e ? e.message() : "slept");
                  })};
    r.request_timeout = timeout;
    return r;
  }
  [[nodiscard]] static bool reaches(const std::atomic<int>& n, int value) {
    for (int i = 0; i < 15'000 && n < value; ++i) std::this_thread::sleep_for(1ms);
    return n >= value;
  }
};

void reset(HttpClient& client) {
  const linger now{1, 0};
  (void)::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
}

}  // namespace

TEST_CASE("a request's context is done when its client resets or closes the connection", "[http][context]") {
  for (const bool with_reset : {true, false}) {
    for (const bool kept : {false, true}) {
      INFO((with_reset ? "reset" : "close") << (kept ? " after another request" : " of the first request"));
      Waiter waiter;
      HttpServer server({waiter.route(), {.spec = {.path = "/"}, .handler = hello()}});
      {
        HttpClient client(server.port());
        if (kept) REQUIRE(client.ask(get("/")).has_value());
        client.send(get("/wait"));
        REQUIRE(Waiter::reaches(waiter.inside, 1));
        CHECK(waiter.ended == 0);
        if (with_reset) reset(client);
      }
      REQUIRE(Waiter::reaches(waiter.ended, 1));
      CHECK(waiter.error == errc::canceled);
      CHECK(waiter.cause == (with_reset ? std::errc::connection_reset : std::errc::connection_aborted));
    }
  }
}

TEST_CASE("a client that only ends its side is told all the same; half_close_cancels decides", "[http][context]") {
  for (const bool cancels : {true, false}) {
    Waiter waiter;
    if (!cancels) waiter.patience = 50ms;
    http::ServerOptions options;
    options.half_close_cancels = cancels;
    HttpServer server({waiter.route()}, std::move(options));
    HttpClient client(server.port());
    client.send(get("/wait"));
    client.finish_sending();
    const auto answer = client.receive();
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(answer->body == (cancels ? "context canceled" : "slept"));
  }
}

TEST_CASE("a FIN behind more requests ends only the last one's context", "[http][context]") {
  Waiter waiter;
  waiter.patience = 100ms;
  HttpServer server({waiter.route()});
  HttpClient client(server.port());
  client.send(get("/wait") + get("/wait") + get("/wait"));
  client.finish_sending();
  for (const char* const body : {"slept", "slept", "context canceled"}) {
    const auto answer = client.receive();
    REQUIRE(answer);
    CHECK(answer->body == body);
  }
}

TEST_CASE("a FIN behind a body says nothing before the body has been read", "[http][context]") {
  std::atomic<bool> alive{false};
  std::atomic<bool> after{true};
  HttpServer server({{.spec = {.path = "/"}, .handler = handler([&](http::Exchange& ex) {
                                               const Context& ctx = ex.context();
                                               (void)runtime::sleep_for(50ms);
                                               alive = !ctx.done();
                                               for (;;) {
                                                 const auto piece = ex.read_body();
                                                 if (!piece || piece->empty()) break;
                                               }
                                               after = context::sleep(ctx, 5s).has_value();
                                               return ex.respond(200, "text/plain", "read");
                                             })}});
  HttpClient client(server.port());
  client.send("POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 5\r\n\r\nhello");
  client.finish_sending();
  const auto answer = client.receive();
  REQUIRE(answer);
  CHECK(answer->body == "read");
  CHECK(alive);
  CHECK_FALSE(after);
}

TEST_CASE("a request's context has its deadline; the connection's has none", "[http][context]") {
  Waiter waiter;
  Waiter streamed;
  streamed.by_client = true;
  streamed.patience = 60ms;
  HttpServer server({waiter.route(20ms), streamed.route(20ms, "/stream")});
  HttpClient client(server.port());
  const auto late = client.ask(get("/wait"));
  REQUIRE(late);
  CHECK(late->body == "context deadline exceeded");
  const auto answer = client.ask(get("/stream"));
  REQUIRE(answer);
  CHECK(answer->body == "slept");
}

TEST_CASE("when serve() has returned its context is done, and the connection goes on; when that ends, so is its own",
          "[http][context]") {
  const std::uint64_t forgotten = context::never_canceled_count();
  Lock lock;
  Context of_request;
  Context of_client;
  std::atomic<int> requests{0};
  std::atomic<int> same{0};
  HttpServer server({{.spec = {.path = "/"}, .handler = handler([&](http::Exchange& ex) {
                                               const Context request = ex.context();
                                               const LockGuard guard(lock);
                                               if (request.done() || !(request == ex.context()))
                                                 return ex.respond(500, "", "");
                                               if (requests++ > 0 && of_client == ex.client_context()) ++same;
                                               of_request = request;
                                               of_client = ex.client_context();
                                               return ex.respond(200, "text/plain", "ok");
                                             })}});
  {
    HttpClient client(server.port());
    for (int i = 0; i < 3; ++i) {
      const auto answer = client.ask(get("/"));
      REQUIRE(answer);
      CHECK(answer->status == 200);
      bool ended = false;
      for (int k = 0; k < 5'000 && !ended; ++k, std::this_thread::sleep_for(1ms)) {
        const LockGuard guard(lock);
        ended = of_request.err() == errc::canceled;
      }
      CHECK(ended);
      const LockGuard guard(lock);
      CHECK_FALSE(of_client.done());
    }
  }
  CHECK(same == 2);
  bool ended = false;
  for (int k = 0; k < 5'000 && !ended; ++k, std::this_thread::sleep_for(1ms)) ended = of_client.done();
  CHECK(ended);
  (void)server.stop(5s);
  CHECK(server.server().context().done());
  of_request = of_client = Context();
  CHECK(context::never_canceled_count() == forgotten);
}

TEST_CASE("a stop that runs out of patience ends the contexts of requests", "[http][context]") {
  Waiter waiter;
  HttpServer server({waiter.route()});
  HttpClient client(server.port());
  client.send(get("/wait"));
  REQUIRE(Waiter::reaches(waiter.inside, 1));
  const auto begin = std::chrono::steady_clock::now();
  CHECK(server.stop(50ms) == 1);
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  CHECK(waiter.error == errc::canceled);
}

TEST_CASE("a server's contexts are below the one it was given", "[http][context]") {
  const auto daemon = context::with_cancel(context::background());
  Waiter waiter;
  http::ServerOptions options;
  options.context = daemon.context;
  HttpServer server({waiter.route()}, std::move(options));
  HttpClient client(server.port());
  client.send(get("/wait"));
  REQUIRE(Waiter::reaches(waiter.inside, 1));
  daemon.cancel(std::make_error_code(std::errc::host_unreachable));
  const auto answer = client.receive();
  REQUIRE(answer);
  CHECK(answer->body == "context canceled");
  CHECK(waiter.cause == std::errc::host_unreachable);
}

TEST_CASE("handlers that do not ask have no context made for them", "[http][context]") {
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}});
  const std::uint64_t before = context::live_count();
  HttpClient client(server.port());
  for (int i = 0; i < 3; ++i) REQUIRE(client.ask(get("/")).has_value());
  CHECK(context::live_count() == before);
}
