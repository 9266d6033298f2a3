// The server while the runtime beneath it changes: GOMAXPROCS up and down, a Processor that is held, a stop.
#include <fcntl.h>
#include <poll.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "core/net/handshakes.hpp"
#include "core/observe/catalogue.hpp"
#include "daemon/admin/admin.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

TEST_CASE("GOMAXPROCS lowered and raised under load loses no connection", "[integration][gomaxprocs]") {
  auto slow = handler([](http::Exchange& exchange) -> Result<void> {
    if (const std::error_code error = error_of(runtime::sleep_for(1ms))) return fail(error);
    return exchange.respond(200, "text/plain", "slow");
  });
  HttpServer server({route("/", hello()), route("/slow", slow)}, {}, 4);
  std::atomic<bool> done{false};
  std::atomic<unsigned> answered{0};
  std::atomic<unsigned> lost{0};
  std::vector<std::thread> clients;
  for (int i = 0; i < 24; ++i)
    clients.emplace_back([&, i] {
      try {
        // A third keeps its connection for good, a third opens one for each request, a third is idle now and then.
        std::optional<HttpClient> client;
        while (!done) {
          if (!client || i % 3 == 1) client.emplace(server.port());
          const auto answer = client->ask(get(i % 2 == 0 ? "/" : "/slow"));
          (answer && answer->status == 200 ? answered : lost) += 1;
          if (i % 3 == 2) std::this_thread::sleep_for(3ms);
        }
      } catch (const std::exception&) {
        ++lost;
      }
    });
  for (int round = 0; round < 60; ++round) {
    static constexpr unsigned kSteps[] = {1, 4, 2, 8, 1, 3};
    server.runtime().set_gomaxprocs(kSteps[static_cast<std::size_t>(round) % std::size(kSteps)]);
    const unsigned before = answered;
    CHECK(eventually([&] { return answered > before + 50; }));  // service goes on at each step
  }
  done = true;
  for (std::thread& client : clients) client.join();
  CHECK(lost == 0);
  CHECK(server.runtime().read_mem_stats().gomaxprocs == 3);
  CHECK(server.stop(5s) == 0);
}

TEST_CASE("healthz sees a Processor that takes up no fiber", "[integration][healthz]") {
  metric::Registry registry;
  daemon::AdminState state;
  HttpServer server(daemon::admin_routes(state), {}, 2);
  auto status = [&] {
    HttpClient client(server.port());
    const auto answer = client.ask(get("/healthz"));
    return answer ? answer->status : 0;
  };
  CHECK(status() == 200);
  std::atomic<bool> held{false};
  std::atomic<bool> release{false};
  REQUIRE(server.runtime().spawn("holder", [&] {
    const runtime::Pin pin;  // pinned: nobody may replace its Processor
    held = true;
    while (!release) {
    }
  }));
  REQUIRE(eventually([&] { return held.load(); }));
  CHECK(status() == 503);
  release = true;
  CHECK(eventually([&] { return status() == 200; }));
}

TEST_CASE("healthz answers 200 throughout while one handler computes for three seconds", "[integration][healthz]") {
  metric::Registry registry;
  daemon::AdminState state;
  auto routes = daemon::admin_routes(state);
  std::atomic<bool> computing{false};
  std::atomic<bool> over{false};
  routes.push_back(route("/computes", handler([&](http::Exchange& exchange) -> Result<void> {
                           computing = true;
                           const std::int64_t end = monotonic_now() + 3'000'000'000;
                           while (monotonic_now() < end) {
                           }
                           over = true;
                           return exchange.respond(200, "text/plain", "computed");
                         })));
  HttpServer server(std::move(routes), {}, 2);
  std::thread other([&] {
    HttpClient client(server.port());
    CHECK(client.ask(get("/computes"))->status == 200);
  });
  REQUIRE(eventually([&] { return computing.load(); }));
  unsigned healthy = 0;
  std::vector<unsigned> others;
  while (!over) {
    HttpClient client(server.port());
    const auto answer = client.ask(get("/healthz"));
    const unsigned status = answer ? answer->status : 0;
    if (status == 200)
      ++healthy;
    else
      others.push_back(status);
    std::this_thread::sleep_for(20ms);  // the pace of the questions
  }
  other.join();
  CHECK(others.empty());
  CHECK(healthy >= 3);
}

TEST_CASE("a client whose handshake is under way when the listener stops is served", "[integration][net]") {
  net::ListenerOptions deferred;
  deferred.defer_accept = true;
  HttpServer server({route("/", hello())}, {}, 2, deferred);
  HttpClient client(server.port());  // connected as it sees it; for the server a handshake until its first bytes
  CHECK(*net::pending_handshakes(server.port()) == 1);
  std::thread stop([&] { (void)server.stop(5s); });
  // Once a new handshake gets no answer, the listener is stopping.
  const bool stopping = eventually([&] {
    const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    const net::Endpoint to = net::Endpoint::v4(0x7f000001, server.port());
    (void)::connect(fd, to.data(), to.size());
    pollfd event{fd, POLLOUT, 0};
    const bool silent = ::poll(&event, 1, 10) == 0;
    ::close(fd);
    return silent;
  });
  const auto answer = client.ask(get("/"));
  stop.join();
  CHECK(stopping);
  REQUIRE(answer.has_value());
  CHECK(answer->status == 200);
  CHECK(*net::pending_handshakes(server.port()) == 0);
}
