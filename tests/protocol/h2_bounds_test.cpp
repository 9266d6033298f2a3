// HTTP/2: what a connection may have at once while memory is short, what it has while it has nothing to say, and who is
// given up because nothing can come of it any more.
#include <malloc.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "core/flow/pressure.hpp"
#include "core/http/h1/reclaim.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"
#include "tests/support/memory_stream.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

struct HeldRequests {
  std::atomic<unsigned> running{0};
  std::atomic<bool> let_go{false};
  http::Route make() {
    return route("/wait", handler([this](http::Exchange& ex) -> Result<void> {
                   ++running;
                   while (!let_go) (void)runtime::sleep_for(1ms);
                   --running;
                   return ex.respond(200, "text/plain", "waited");
                 }));
  }
};

std::string many_gets(std::uint32_t first, unsigned count, std::string_view path) {
  std::string bytes;
  for (unsigned i = 0; i < count; ++i) bytes += http2::get(first + 2 * i, path);
  return bytes;
}

std::size_t reclaim_one(HttpServer& server) {
  std::size_t closed = 0;
  http::Server* const s = &server.server();
  server.runtime().run([&] { closed = http::reclaim({&s, 1}, 1); });
  return closed;
}

/// A server of a simulation, and a client that has said hello.
struct SimulatedH2 {
  SimulatedH2(std::uint64_t seed, std::vector<http::Route> routes, const MemoryFaults& faults = {})
      : server(std::move(*http::Server::make(http2::h2c_options(), std::move(routes)))),
        link(std::make_shared<MemoryStream::Link>(faults, seed)),
        client(std::make_unique<MemoryClient>(link)) {
    server->serve(std::make_unique<MemoryStream>(link));
    (void)client->send(std::string(http2::kPreface) + http2::settings());
  }
  ~SimulatedH2() {
    client.reset();
    const std::atomic<std::int64_t> until{Deadline::in(1min).ns()};
    (void)server->stop(until);
  }
  SimulatedH2(const SimulatedH2&) = delete;
  SimulatedH2& operator=(const SimulatedH2&) = delete;
  [[nodiscard]] bool hears(std::string_view what) const {
    while (client->rest().find(what) == std::string_view::npos)
      if (!client->more()) return false;
    return true;
  }
  std::unique_ptr<http::Server> server;
  std::shared_ptr<MemoryStream::Link> link;
  std::unique_ptr<MemoryClient> client;
};

http::Route sleeping_route(std::chrono::nanoseconds time) {
  return route("/sleep", handler([time](http::Exchange& ex) -> Result<void> {
                 (void)runtime::sleep_for(time);
                 return ex.respond(200, "text/plain", "slept");
               }));
}

}  // namespace

TEST_CASE("h2: while memory is short a connection has fewer requests at once, and is told", "[h2][pressure]") {
  flow::Pressure pressure;
  HeldRequests waiting;
  http::ServerOptions options = http2::h2c_options();
  options.http2.max_streams = 16;
  options.pressure = &pressure;
  HttpServer server({waiting.make(), route("/", hello())}, options);
  http2::Client client(server.port());
  REQUIRE(client.until([&] { return client.server_settings()[3] == 16; }));
  pressure.shed(1);
  // What the client had sent before it could know is refused, so that it may be repeated elsewhere.
  REQUIRE(client.send(many_gets(1, 5, "/wait")));
  CHECK(client.reply(9).reset == http2::kRefusedStream);
  CHECK(eventually([&] { return waiting.running == 4; }));
  CHECK(client.until([&] { return client.server_settings()[3] == 4; }));
  // All is as it was.
  pressure.shed(0);
  REQUIRE(client.ping());
  CHECK(client.until([&] { return client.server_settings()[3] == 16; }));
  REQUIRE(client.send(many_gets(11, 12, "/wait")));
  CHECK(eventually([&] { return waiting.running == 16; }));
  waiting.let_go = true;
  CHECK(client.reply(33).status == 200);
  CHECK(client.reply(1).status == 200);
  // Never none at all.
  pressure.shed(3);
  REQUIRE(client.ping());
  CHECK(client.until([&] { return client.server_settings()[3] == 1; }));
}

TEST_CASE("h2 abuse: requests that are refused cost points, whoever refuses them", "[h2][abuse]") {
  HeldRequests waiting;
  http::ServerOptions options = http2::h2c_options();
  options.http2.max_streams = 1;
  HttpServer server({waiting.make()}, options);
  http2::Client client(server.port());
  // Never acknowledges what it is told: until then the library refuses by itself.
  (void)client.send(many_gets(1, 1500, "/wait"));
  CHECK(client.until([&] { return !client.goaways().empty(); }));
  CHECK(client.goaway() == http2::kEnhanceYourCalm);
  waiting.let_go = true;
}

TEST_CASE("h2: who is in the middle of a head makes room, and who is being served does not", "[h2][reclaim]") {
  metric::Registry registry;
  metric::Counter& heads = registry.counter(registry.family({.name = "head_total", .help = "h"}));
  HeldRequests waiting;
  http::ServerOptions options = http2::h2c_options();
  options.metrics.reclaimed_head = &heads;
  options.timeouts.header = 10min;
  HttpServer server({waiting.make()}, options);
  const std::string half = http2::frame(http2::kHeaders, http2::kEndStream, 3, http2::block(http2::get_fields()));
  http2::Client served(server.port());
  REQUIRE(served.send(http2::get(1, "/wait") + half));
  REQUIRE(eventually([&] { return waiting.running == 1; }));
  CHECK(reclaim_one(server) == 0);
  const std::size_t size = GENERATE(std::size_t{5}, std::size_t{9'999});
  // All at once: between two pieces it would be an idle one.
  http2::Client stalls(server.port(), http2::settings() + half.substr(0, size));
  const auto stands = [&] {
    std::vector<std::int64_t> since;
    server.runtime().run([&] { server.server().waiting_since(http::Waiting::for_head, since); });
    return !since.empty();
  };
  REQUIRE(eventually(stands));
  CHECK(eventually([&] { return reclaim_one(server) == 1; }));
  CHECK(stalls.until_closed());
  CHECK(heads.value() == 1);
  waiting.let_go = true;
  REQUIRE(served.send(http2::frame(http2::kContinuation, http2::kEndHeaders, 3)));
  CHECK(served.reply(1).status == 200);
}

TEST_CASE("h2: who has ended his side and opened no window is given up at once", "[h2]") {
  const bool half_close_cancels = GENERATE(true, false);
  std::atomic<bool> over{false};
  std::error_code error;
  std::error_code cause;
  const auto pours = handler([&](http::Exchange& ex) -> Result<void> {
    const context::Context ctx = ex.context();
    const std::string piece(10'000, 'p');
    Result<void> sent = ex.begin({});
    for (int i = 0; i < 100 && sent; ++i) sent = ex.write(piece);
    error = error_of(sent);
    cause = ctx.cause();
    over = true;
    return sent;
  });
  http::ServerOptions options = http2::h2c_options();
  options.half_close_cancels = half_close_cancels;
  options.timeouts.write = 10min;
  HttpServer server({route("/", hello()), route("/pour", pours)}, options);
  http2::Client client(server.port());
  SECTION("in the middle of an answer") {
    REQUIRE(client.send(http2::get(1, "/pour")));
    client.connection().finish_sending();
    CHECK(eventually([&] { return over.load(); }));
    CHECK(error == std::errc::connection_aborted);
    CHECK(cause == std::errc::connection_aborted);
    // What its windows have allowed has come.
    CHECK(client.reply(1).body.size() == 65'535);
    CHECK(client.so_far(1).reset == http2::kCancel);
  }
  SECTION("at the end of one that is complete") {
    http2::Client shut(server.port(), http2::settings(http2::setting(4, 0)));
    REQUIRE(shut.send(http2::get(1)));
    shut.connection().finish_sending();
    CHECK(shut.reply(1).status == 200);
    CHECK(shut.so_far(1).reset == http2::kCancel);
    CHECK(shut.until_closed());
  }
}

TEST_CASE("h2: who sends a body that nobody wants has a second to read the answer, however fast it is",
          "[h2][simulation]") {
  for_each_simulation(4, [](std::uint64_t seed) {
    SimulatedH2 h2(seed, {route("/", hello())});
    (void)h2.client->send(http2::get(1));
    invariant(h2.hears("hello"), "no answer");
    const std::int64_t began = monotonic_now();
    std::string bytes = http2::settings_ack() + http2::headers(3, http2::post_fields("/"), false);
    for (int i = 0; i < 16; ++i) bytes += http2::data(3, std::string(16'384, 'x'), false);  // the whole window
    (void)h2.client->send(bytes);
    invariant(h2.hears(http2::rst(3, 0)), "it is not told to stop");
    invariant(monotonic_now() - began >= std::chrono::nanoseconds(1s).count(), "it is told at once");
  });
}

TEST_CASE("h2: answers before the answer wait for a client that does not read", "[h2][simulation]") {
  for_each_simulation(4, [](std::uint64_t seed) {
    unsigned told = 0;
    bool over = false;
    const auto tells = handler([&](http::Exchange& ex) -> Result<void> {
      const std::string text(1'000, 'x');
      const http::Field field{"X-Hint", text};
      Result<void> done;
      for (; told < 100'000 && done; told += done ? 1 : 0) done = ex.respond_interim(103, {&field, 1});
      over = true;
      return done;
    });
    SimulatedH2 h2(seed, {route("/", tells)});
    (void)h2.client->send(http2::get(1));
    (void)runtime::sleep_for(5s);
    invariant(!over && told > 0 && told < 20'000, "nobody waits for the client: " + std::to_string(told));
    (void)runtime::sleep_for(1min);
    invariant(over, "waits for ever");
  });
}

TEST_CASE("h2: a connection whose requests have nothing to say is not woken, and has no buffers", "[h2][simulation]") {
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    runtime::Simulation simulation(seed);
    const runtime::Simulation::Outcome outcome = simulation.run([seed] {
      SimulatedH2 h2(seed, {sleeping_route(1h)});
      (void)h2.client->send(http2::get(1, "/sleep"));
      invariant(h2.hears("slept"), "no answer");
    });
    CHECK_FALSE(outcome.deadlock);
    CHECK(outcome.switches < 5'000);
  }
  if (kSanitized) return;  // they have an allocator of their own
  for_each_simulation(1, [](std::uint64_t seed) {
    static constexpr std::size_t kMany = 64;
    std::vector<std::unique_ptr<SimulatedH2>> many;
    const std::size_t before = ::mallinfo2().uordblks;
    for (std::size_t i = 0; i < kMany; ++i) {
      many.push_back(std::make_unique<SimulatedH2>(seed, std::vector<http::Route>{sleeping_route(1h)}));
      (void)many.back()->client->send(http2::get(1, "/sleep"));
    }
    (void)runtime::sleep_for(10s);
    const std::size_t each = (::mallinfo2().uordblks - before) / kMany;
    invariant(each < std::size_t{64} * 1024, std::to_string(each) + " bytes a connection");
  });
}

TEST_CASE("h2: a connection at rest hears its client, and a stop", "[h2][simulation]") {
  for_each_simulation(32, [](std::uint64_t seed) {
    SimulatedH2 h2(seed, {sleeping_route(1min), route("/", hello())});
    (void)h2.client->send(http2::get(1, "/sleep"));
    (void)runtime::sleep_for(10s);
    (void)h2.client->send(http2::get(3));
    invariant(h2.hears("hello"), "no answer");
    (void)runtime::sleep_for(10s);
    const std::int64_t begun = runtime::coarse_now();
    bool stopped = false;
    std::size_t cut = 0;
    (void)runtime::spawn("stops", [&] {
      const std::atomic<std::int64_t> until{Deadline::in(5min).ns()};
      cut = h2.server->stop(until);
      stopped = true;
    });
    invariant(h2.hears("goodbye."), "the PING behind the first GOAWAY has not come");
    invariant(runtime::coarse_now() - begun < 1'000'000'000, "it took its time");
    invariant(h2.hears("slept"), "what was under way was cut");
    while (h2.client->more()) {
    }
    while (!stopped) (void)runtime::sleep_for(1ms);
    invariant(cut == 0, "a connection had to be cut");
  });
}

TEST_CASE("h2: a connection at rest grows old", "[h2][simulation]") {
  for_each_simulation(8, [](std::uint64_t seed) {
    http::ServerOptions options = http2::h2c_options();
    options.timeouts.age = 5min;
    auto made = http::Server::make(options, {sleeping_route(1h)});
    const auto link = std::make_shared<MemoryStream::Link>(MemoryFaults{}, seed);
    (*made)->serve(std::make_unique<MemoryStream>(link));
    {
      MemoryClient client(link);
      (void)client.send(std::string(http2::kPreface) + http2::settings() + http2::get(1, "/sleep"));
      const std::int64_t begun = runtime::coarse_now();
      while (client.rest().find("goodbye.") == std::string_view::npos && client.more()) {
      }
      const std::int64_t passed = runtime::coarse_now() - begun;
      invariant(passed > std::chrono::nanoseconds(4min).count(), "told early");
      invariant(passed < std::chrono::nanoseconds(6min).count(), "told late");
      while (client.more()) {
      }
    }
    const std::atomic<std::int64_t> until{Deadline::in(1min).ns()};
    (void)(*made)->stop(until);
  });
}

TEST_CASE("h2: a block whose pieces come byte by byte is no flood", "[h2][simulation]") {
  for_each_simulation(2, [](std::uint64_t seed) {
    SimulatedH2 h2(seed, {route("/", hello())}, {.most_read = 1});
    const std::string fields = http2::block(http2::get_fields());
    (void)h2.client->send(http2::frame(http2::kHeaders, http2::kEndStream, 1, fields.substr(0, 15)) +
                          http2::frame(http2::kContinuation, http2::kEndHeaders, 1, fields.substr(15)));
    invariant(h2.hears("hello"), "no answer");
  });
}
