// Closing the longest-idle connections: which, how many, and that no request that has arrived is lost.
#include "core/http/h1/reclaim.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <list>
#include <thread>

#include "core/metric/registry.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

struct Counted {
  metric::Registry registry;
  metric::Counter& idle = registry.counter(registry.family({.name = "idle_total", .help = "h"}));
  metric::Counter& head = registry.counter(registry.family({.name = "head_total", .help = "h"}));
  metric::Counter& end = registry.counter(registry.family({.name = "end_total", .help = "h"}));
  metric::Gauge& now_idle = registry.gauge(registry.family({.name = "idle", .help = "h", .type = metric::Type::gauge}));
  [[nodiscard]] http::ServerOptions options() {
    http::ServerOptions o;
    o.metrics.reclaimed_idle = &idle;
    o.metrics.reclaimed_head = &head;
    o.metrics.reclaimed_end = &end;
    o.metrics.idle = &now_idle;
    return o;
  }
  /// Waits until so many are idle.
  [[nodiscard]] bool settle(double count) const {
    for (int i = 0; i < 10'000; ++i) {
      if (static_cast<double>(now_idle.value()) == count) return true;
      std::this_thread::sleep_for(1ms);
    }
    return false;
  }
};

std::size_t reclaim(HttpServer& server, std::size_t wanted) {
  std::size_t closed = 0;
  http::Server* const s = &server.server();
  server.runtime().run([&] { closed = http::reclaim({&s, 1}, wanted); });
  return closed;
}

}  // namespace

TEST_CASE("the longest-idle go first, and as many as wanted", "[http][reclaim]") {
  Counted counted;
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}}, counted.options());
  std::list<HttpClient> clients;
  for (int i = 0; i < 20; ++i) {
    clients.emplace_back(server.port());
    REQUIRE(clients.back().ask(get("/")).has_value());
    REQUIRE(counted.settle(i + 1));
    std::this_thread::sleep_for(1ms);  // the clock that orders them is coarse
  }
  // Two of the oldest are the youngest now.
  for (auto it = clients.begin(); it != std::next(clients.begin(), 2); ++it) REQUIRE(it->ask(get("/")).has_value());
  REQUIRE(counted.settle(20));
  CHECK(reclaim(server, 5) == 5);
  CHECK(counted.idle.value() == 5);
  CHECK(counted.settle(15));
  int i = 0;
  for (HttpClient& c : clients) {
    INFO("client " << i);
    const bool closed = i >= 2 && i < 7;
    if (closed) {
      CHECK(c.wait_end());
    } else {
      CHECK(c.ask(get("/")).has_value());
    }
    ++i;
  }
  REQUIRE(counted.settle(15));
  CHECK(reclaim(server, 100) == 15);
  CHECK(reclaim(server, 100) == 0);
  CHECK(reclaim(server, 0) == 0);
  CHECK(server.server().connections() == 0);
  CHECK(server.listener().connections() == 0);
}

TEST_CASE("a connection that was answered for the last time goes before an idle one", "[http][reclaim]") {
  Counted counted;
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}}, counted.options());
  HttpClient idle(server.port());
  REQUIRE(idle.ask(get("/")).has_value());
  REQUIRE(counted.settle(1));
  HttpClient refused(server.port());
  REQUIRE(refused.ask("garbage\r\n\r\n").value_or(Answer{}).status == 400);
  std::size_t closed = 0;  // it begins to wait for the end a moment after its answer is here
  for (int i = 0; i < 1000 && closed == 0; ++i) {
    server.runtime().run([&] {
      http::Server* const s = &server.server();
      if (s->close_waiting(http::Waiting::for_end, INT64_MAX, 0) == 0) {
        std::vector<std::int64_t> since;
        s->waiting_since(http::Waiting::for_end, since);
        if (!since.empty()) closed = http::reclaim({&s, 1}, 1);
      }
      (void)runtime::sleep_for(1ms);
    });
  }
  CHECK(closed == 1);
  CHECK(counted.end.value() == 1);
  CHECK(counted.idle.value() == 0);
  CHECK(idle.ask(get("/")).has_value());
}

TEST_CASE("two Processors that make room at once both get some", "[http][reclaim]") {
  Counted counted;
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}}, counted.options(), 2);
  http::Server* const s = &server.server();
  std::list<HttpClient> clients;
  for (int round = 0; round < 100; ++round) {
    while (clients.size() < 8) {
      clients.emplace_back(server.port());
      REQUIRE(clients.back().ask(get("/")).has_value());
    }
    REQUIRE(counted.settle(8));
    std::atomic<int> there{0};
    std::atomic<int> done{0};
    std::array<std::size_t, 2> closed{};
    server.runtime().run([&] {
      for (std::size_t& n : closed) {
        REQUIRE(runtime::spawn("reclaim", [&] {
          there.fetch_add(1);
          while (there.load() != 2) runtime::yield();
          n = http::reclaim({&s, 1}, 4);
          done.fetch_add(1);
        }));
      }
      while (done.load() != 2) runtime::yield();
    });
    // The same four were the longest-idle for both.
    CHECK((closed[0] != 0 && closed[1] != 0));
    clients.clear();
    REQUIRE(counted.settle(0));
  }
}

TEST_CASE("a request that has arrived is served, not closed", "[http][reclaim]") {
  Counted counted;
  // One Processor: while the fiber below has it, nobody looks for events.
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}}, counted.options(), 1);
  HttpClient client(server.port());
  for (unsigned round = 1; round <= 50; ++round) {
    REQUIRE(client.ask(get("/")).has_value());
    REQUIRE(counted.settle(1));
    server.runtime().run([&] {
      http::Server* const s = &server.server();
      client.send(get("/"));
      (void)http::reclaim({&s, 1}, 1);
    });
    REQUIRE(client.receive().has_value());
  }
  CHECK(counted.idle.value() == 0);
}

TEST_CASE("of several servers those that are idle longest in all", "[http][reclaim]") {
  // One runtime a process: two servers behind one listener each would need two; so the second is served by hand.
  Counted counted;
  HttpServer first({{.spec = {.path = "/"}, .handler = hello()}}, counted.options());
  auto second = http::Server::make(counted.options(), {{.spec = {.path = "/"}, .handler = hello()}});
  REQUIRE(second.has_value());
  auto listener = net::Listener::bind(first.runtime(), net::Endpoint::v4(0x7f000001, 0), {});
  REQUIRE(listener.has_value());
  REQUIRE((*listener)->start(&http::Server::on_accept, second->get()));
  std::list<HttpClient> clients;
  for (int i = 0; i < 6; ++i) {
    clients.emplace_back(i % 2 == 0 ? first.port() : (*listener)->local().port());
    REQUIRE(clients.back().ask(get("/")).has_value());
    REQUIRE(counted.settle(i + 1));
    std::this_thread::sleep_for(1ms);
  }
  const std::array<http::Server*, 2> servers{&first.server(), second->get()};
  std::size_t closed = 0;
  first.runtime().run([&] { closed = http::reclaim(servers, 3); });
  CHECK(closed == 3);
  CHECK(first.server().connections() == 1);
  CHECK((*second)->connections() == 2);
  first.runtime().run([&] {
    (*listener)->stop();
    const std::atomic<std::int64_t> until{Deadline::in(5s).ns()};
    (void)(*second)->stop(until);
  });
}

TEST_CASE("reclaiming while clients come, ask and leave loses no answer and no count", "[http][reclaim][stress]") {
  Counted counted;
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}}, counted.options());
  std::atomic<bool> go{true};
  std::atomic<int> answered{0};
  std::atomic<int> cut{0};
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      for (int round = 0; round < 300; ++round) {
        HttpClient client(server.port());
        for (int i = 0; i < 4; ++i) {
          // Every third waits in the middle of its head.
          if (t == 2) client.send("GET / HTTP/1.1\r\n");
          const auto answer = client.ask(t == 2 ? "Host: a\r\n\r\n" : get("/"));
          if (!answer) {
            ++cut;
            break;
          }
          if (answer->status == 200 && answer->body == "hello") {
            ++answered;
          } else {
            ++wrong;
          }
        }
      }
    });
  }
  std::thread reclaimer([&] {
    while (go.load()) (void)reclaim(server, 2);
  });
  for (std::thread& t : threads) t.join();
  go = false;
  reclaimer.join();
  CHECK(wrong == 0);
  CHECK(answered > 0);
  // Who was cut was counted; a client that left first may have been counted too.
  CHECK(static_cast<std::uint64_t>(cut.load()) <= counted.idle.value() + counted.head.value());
  CHECK(server.stop(5s) == 0);
  CHECK(server.server().connections() == 0);
  CHECK(counted.now_idle.value() == 0);
}
