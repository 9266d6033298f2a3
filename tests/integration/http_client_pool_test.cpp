// The client's connections: kept, stolen, waited for, limited, and never used again when they should not be.
#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "core/context/waits.hpp"
#include "core/sync/error_group.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/integration/http_client_cases.hpp"
#include "tests/support/client_fixture.hpp"
#include "tests/support/hostile_upstream.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;
using http::client_errc;
using http::ClientFailure;

namespace {

/// Lets fibers run until `done`; false after ten seconds.
template <class F>
bool until(F done) {
  for (int i = 0; i < 10'000; ++i) {
    if (done()) return true;
    (void)runtime::sleep_for(1ms);
  }
  return false;
}

}  // namespace

TEST_CASE("client: 64 fibers on two Processors reuse connections in 99.9 % of all requests", "[integration][client]") {
  static constexpr int kFibers = 64;
  static constexpr int kEach = 1'600;
  metric::Registry registry;
  const auto counter = [&](const char* name) {
    return &registry.counter(registry.family({.name = name, .help = "x"}));
  };
  http::ClientMetrics metrics;
  metrics.opened = counter("opened_total");
  metrics.reused = counter("reused_total");
  metrics.stolen = counter("stolen_total");
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}});
  const std::string url = "http://127.0.0.1:" + std::to_string(server.port()) + "/";
  std::atomic<int> good{0};
  std::error_code error;
  server.runtime().run([&] {
    http::Client client({.metrics = metrics});
    sync::ErrorGroup group;
    for (int f = 0; f < kFibers; ++f)
      group.go("client", [&] {
        for (int i = 0; i < kEach; ++i) {
          auto answer = client.get(group.context(), url);
          if (!answer) return answer.error();
          const Result<std::string> text = answer->read_all(group.context(), 100);
          if (text && *text == "hello") ++good;
        }
        return std::error_code();
      });
    error = error_of(group.wait());
  });
  CHECK(error == std::error_code());
  CHECK(good == kFibers * kEach);
  CHECK(metrics.opened->value() + metrics.reused->value() == kFibers * kEach);
  CHECK(metrics.reused->value() * 1'000 >= std::uint64_t{999} * kFibers * kEach);
  CHECK(metrics.opened->value() <= kFibers);
}

TEST_CASE("client: an idle connection of another Processor is stolen before a new one is made",
          "[integration][client]") {
  HostileUpstream upstream({answers(kOk)});
  ClientFixture rig;
  std::atomic<int> good{0};
  rig.run([&] {
    sync::WaitGroup group;
    for (unsigned i = 0; i < 10; ++i) {
      group.add(1);
      (void)runtime::spawn_on(i % 2, "client", [&] {
        if (fetch(context::background(), rig.client(), {.url = upstream.url()}).body == "ok") ++good;
        group.done();
      });
      (void)group.wait();
    }
  });
  CHECK(good == 10);
  CHECK(upstream.connections() == 1);
  CHECK(rig.metrics.reused->value() == 9);
  CHECK(rig.metrics.stolen->value() == 9);
}

TEST_CASE("client: an idle connection that the server ends is closed, and counted", "[integration][client]") {
  for (const bool with_reset : {false, true}) {
    HostileUpstream upstream({[with_reset](UpstreamPeer& peer) {
                                if (!(peer.read_request() && peer.send(kOk))) return;
                                // Not before the client has put it away: else it is no idle one.
                                std::this_thread::sleep_for(20ms);
                                if (with_reset) peer.reset();
                              },
                              answers(kSecond)});
    ClientFixture rig;
    REQUIRE(rig.get(upstream.url()).body == "ok");
    rig.run([&] { (void)until([&] { return rig.client().idle() == 0; }); });
    CHECK(rig.client().idle() == 0);
    CHECK(rig.metrics.idle->value() == 0);
    CHECK(rig.metrics.connections->value() == 0);
    CHECK(rig.metrics.idle_ended->value() == 1);
    const Fetched got = rig.fetch({.method = http::Method::post, .url = upstream.url()});
    CHECK(got.body == "second");
    CHECK_FALSE(got.reused);
    CHECK(rig.metrics.retried->value() == 0);
  }
}

TEST_CASE("client: bytes that nobody asked for are never taken for an answer", "[integration][client]") {
  // With the answer, behind it, and while the connection is idle; the client may be quick (`trust`) or careful.
  enum class When { with_the_answer, behind_it, idle };
  for (const When when : {When::with_the_answer, When::behind_it, When::idle}) {
    for (const bool post : {false, true}) {
      INFO(static_cast<int>(when) << post);
      std::atomic<bool> sent{false};
      HostileUpstream upstream({[&](UpstreamPeer& peer) {
                                  if (!peer.read_request()) return;
                                  if (when == When::with_the_answer) {
                                    peer.send(kOk + kSecond);
                                  } else {
                                    peer.send(kOk);
                                    if (when == When::idle) std::this_thread::sleep_for(20ms);
                                    peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
                                  }
                                  sent = true;
                                  while (peer.read_request()) peer.send(kOk);
                                },
                                answers(kSecond)});
      ClientFixture rig({.pool = {.trust = 0ns}});
      REQUIRE(rig.get(upstream.url()).body == "ok");
      while (!sent) std::this_thread::yield();
      const Fetched got = rig.fetch({.method = post ? http::Method::post : http::Method::get, .url = upstream.url()});
      CHECK(got.body == "second");
      CHECK_FALSE(got.reused);
      CHECK(upstream.connections() == 2);
      CHECK(upstream.requests() == 2);
    }
  }
}

TEST_CASE("client: idle connections have a time, and a number", "[integration][client]") {
  SECTION("a time") {
    HostileUpstream upstream({[](UpstreamPeer& peer) {
      while (peer.read_request() && peer.send(kOk)) {
      }
    }});
    ClientFixture rig({.pool = {.idle_time = 5ms}});
    REQUIRE(rig.get(upstream.url()).body == "ok");
    rig.run([&] { (void)until([&] { return rig.client().idle() == 0; }); });
    CHECK(rig.client().idle() == 0);
    CHECK(rig.metrics.idle_timeout->value() == 1);
    CHECK(rig.metrics.connections->value() == 0);
    upstream.join();  // its connection was closed, else this would wait for ten seconds and fail below
    CHECK(upstream.requests() == 1);
  }
  SECTION("a number") {
    std::atomic<int> there{0};
    HostileUpstream upstream({[&there](UpstreamPeer& peer) {
      (void)peer.read_request();
      ++there;
      while (there < 5) std::this_thread::yield();
      peer.send(kOk);
      peer.wait_for_end();
    }});
    ClientFixture rig({.pool = {.idle = 2}});
    rig.run([&] {
      sync::WaitGroup group;
      for (int i = 0; i < 5; ++i) {
        group.add(1);
        (void)runtime::spawn("client", [&] {
          (void)fetch(context::background(), rig.client(), {.url = upstream.url()});
          group.done();
        });
      }
      (void)group.wait();
    });
    CHECK(upstream.connections() == 5);
    CHECK(rig.client().idle() == 2);
    CHECK(rig.metrics.idle->value() == 2);
    CHECK(rig.metrics.connections->value() == 2);
  }
  SECTION("none") {
    HostileUpstream upstream({answers(kOk)});
    ClientFixture rig({.pool = {.idle = 0}});
    for (int i = 0; i < 3; ++i) CHECK(rig.get(upstream.url()).body == "ok");
    CHECK(upstream.connections() == 3);
  }
}

TEST_CASE("client: who waits for a connection is served in order", "[integration][client]") {
  std::atomic<bool> go{false};
  std::vector<std::string> order;
  HostileUpstream upstream({[&](UpstreamPeer& peer) {
    while (const auto request = peer.read_request()) {
      while (!go) std::this_thread::yield();
      order.push_back(request->substr(5, request->find(' ', 5) - 5));
      peer.send(kOk);
    }
  }});
  ClientFixture rig({.pool = {.connections = 1}});
  std::atomic<int> good{0};
  rig.run([&] {
    sync::WaitGroup group;
    for (int i = 0; i < 20; ++i) {
      group.add(1);
      (void)runtime::spawn("client", [&, i] {
        const std::string url = upstream.url("/" + std::to_string(i));
        if (fetch(context::background(), rig.client(), {.url = url}).body == "ok") ++good;
        group.done();
      });
      // One after the other into the queue.
      (void)until([&] { return i == 0 ? upstream.requests() == 1 : rig.metrics.waited->value() == unsigned(i); });
    }
    go = true;
    (void)group.wait();
  });
  CHECK(good == 20);
  CHECK(upstream.connections() == 1);
  REQUIRE(order.size() == 20);
  for (int i = 0; i < 20; ++i) CHECK(order[static_cast<std::size_t>(i)] == std::to_string(i));
  CHECK(rig.metrics.waited->value() == 19);
  CHECK(rig.metrics.opened->value() == 1);
}

TEST_CASE("client: what is handed straight to a request that cannot be repeated is looked at first",
          "[integration][client]") {
  // It says something that nobody has asked for.
  HostileUpstream upstream({[](UpstreamPeer& peer) {
    peer.send(kOk);
    (void)peer.read_request();
  }});
  for (const bool ask : {true, false}) {
    ClientFixture rig;
    http::ConnectionPool pool({.connections = 1}, rig.metrics);
    bool connected = false;
    bool waited = false;
    rig.run([&] {
      Result<http::ConnectionLease> first = pool.acquire(context::background(), "o", false);
      if (!first) return;
      first->connect(std::make_unique<net::TcpStream>(*net::TcpStream::connect(upstream.endpoint())));
      sync::WaitGroup group;
      group.add(1);
      (void)runtime::spawn("client", [&] {
        Result<http::ConnectionLease> second = pool.acquire(context::background(), "o", ask);
        connected = second && second->connected();
        group.done();
      });
      waited = until([&] { return rig.metrics.waited->value() == 1 && first->stream().bytes_waiting(); });
      first->keep();
      group.wait();
    });
    CHECK(waited);
    CHECK(connected != ask);
    CHECK(rig.metrics.idle_ended->value() == (ask ? 1U : 0U));
    pool.close();
    CHECK(rig.metrics.connections->value() == 0);
  }
}

TEST_CASE("client: the place of a connection that ends goes to who waits", "[integration][client]") {
  HostileUpstream upstream({[](UpstreamPeer& peer) {
    if (peer.read_request()) peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok");
  }});
  ClientFixture rig({.pool = {.connections = 3}});
  std::atomic<int> good{0};
  rig.run([&] {
    sync::WaitGroup group;
    for (int i = 0; i < 100; ++i) {
      group.add(1);
      (void)runtime::spawn("client", [&] {
        if (fetch(context::background(), rig.client(), {.url = upstream.url()}).body == "ok") ++good;
        group.done();
      });
    }
    (void)group.wait();
  });
  CHECK(good == 100);
  CHECK(upstream.connections() == 100);
  CHECK(rig.metrics.connections->value() == 0);
}

TEST_CASE("client: a wait for a connection ends by its context, its time, the queue's limit, or the client's end",
          "[integration][client]") {
  std::atomic<bool> stop{false};
  HostileUpstream upstream({[&](UpstreamPeer& peer) {
    (void)peer.read_request();
    while (!stop) std::this_thread::yield();
    peer.send(kOk);
    while (peer.read_request() && peer.send(kOk)) {
    }
  }});
  const auto held = [&](ClientFixture& rig, auto&& body) {
    rig.run([&] {
      sync::WaitGroup group;
      group.add(1);
      (void)runtime::spawn("holds it", [&] {
        (void)fetch(context::background(), rig.client(), {.url = upstream.url()});
        group.done();
      });
      (void)until([&] { return upstream.requests() == 1; });
      body();
      stop = true;
      (void)group.wait();
    });
  };
  Fetched got;
  SECTION("its context") {
    ClientFixture rig({.pool = {.connections = 1}});
    held(rig, [&] {
      const context::Cancelable scope = context::with_cancel(context::background());
      (void)runtime::spawn("cancels", [&rig, cancel = scope.cancel] {
        (void)until([&] { return rig.metrics.waited->value() == 1; });
        cancel();
      });
      got = fetch(scope.context, rig.client(), {.url = upstream.url()});
    });
    CHECK(got.error == context::errc::canceled);
    CHECK(rig.failures(ClientFailure::canceled) == 1);
    CHECK(rig.get(upstream.url()).body == "ok");
    CHECK(upstream.connections() == 1);
  }
  SECTION("its context's deadline") {
    ClientFixture rig({.pool = {.connections = 1}});
    held(rig, [&] {
      const context::Cancelable scope = context::with_timeout(context::background(), 5ms);
      got = fetch(scope.context, rig.client(), {.url = upstream.url()});
      scope.cancel();
    });
    CHECK(got.error == context::errc::deadline_exceeded);
    CHECK(rig.failures(ClientFailure::deadline) == 1);
  }
  SECTION("its time") {
    ClientFixture rig({.pool = {.connections = 1, .wait = 5ms}});
    held(rig, [&] { got = fetch(context::background(), rig.client(), {.url = upstream.url()}); });
    CHECK(got.error == client_errc::wait_timeout);
    CHECK(rig.failures(ClientFailure::wait) == 1);
  }
  SECTION("the queue's limit") {
    ClientFixture rig({.pool = {.connections = 1, .waiting = 0}});
    held(rig, [&] { got = fetch(context::background(), rig.client(), {.url = upstream.url()}); });
    CHECK(got.error == client_errc::too_many_waiting);
    CHECK(rig.failures(ClientFailure::wait) == 1);
  }
  SECTION("the client's end") {
    ClientFixture rig({.pool = {.connections = 1}});
    held(rig, [&] {
      (void)runtime::spawn("closes", [&rig] {
        (void)until([&] { return rig.metrics.waited->value() == 1; });
        rig.client().close();
      });
      got = fetch(context::background(), rig.client(), {.url = upstream.url()});
    });
    CHECK(got.error == client_errc::client_closed);
    CHECK(rig.get(upstream.url()).error == client_errc::client_closed);
    // What was in use was closed when it came back.
    CHECK(rig.client().idle() == 0);
    CHECK(rig.metrics.connections->value() == 0);
  }
}

TEST_CASE("client: close() closes what is idle", "[integration][client]") {
  HostileUpstream upstream({answers(kOk)});
  ClientFixture rig;
  REQUIRE(rig.get(upstream.url()).body == "ok");
  CHECK(rig.client().idle() == 1);
  rig.run([&] { rig.client().close(); });
  CHECK(rig.metrics.connections->value() == 0);
  upstream.join();
  CHECK(upstream.requests() == 1);
}

TEST_CASE("client: connections that are taken, given, cancelled and ended by all at once", "[integration][client]") {
  // Four origins with few places, sixty fibers, a third of whose contexts end at some point; a fifth of the answers
  // ends the connection. Nothing is lost, doubled or stuck, and no answer is another's.
  std::atomic<unsigned> number{0};
  const auto script = [&number](UpstreamPeer& peer) {
    while (const auto request = peer.read_request()) {
      const std::string name = request->substr(5, request->find(' ', 5) - 5);
      const unsigned n = ++number;
      const std::string close = n % 5 == 0 ? "Connection: close\r\n" : "";
      if (n % 11 == 0) return;
      peer.send("HTTP/1.1 200 OK\r\n" + close + "Content-Length: " + std::to_string(name.size()) + "\r\n\r\n" + name);
      if (!close.empty()) return;
    }
  };
  HostileUpstream a({script});
  HostileUpstream b({script});
  ClientFixture rig({.pool = {.connections = 4, .idle = 3, .wait = 5s, .idle_time = 1ms}});
  std::atomic<int> good{0};
  std::atomic<int> wrong{0};
  std::atomic<int> failed{0};
  rig.run([&] {
    sync::WaitGroup group;
    for (unsigned f = 0; f < 60; ++f) {
      group.add(1);
      (void)runtime::spawn("client", [&, f] {
        for (unsigned i = 0; i < 60; ++i) {
          const std::string name = std::to_string(f * 1'000 + i);
          const context::Cancelable scope = context::with_timeout(
              context::background(), std::chrono::microseconds((f + i) % 3 == 0 ? 300 : 5'000'000));
          const Fetched got = fetch(scope.context, rig.client(), {.url = ((f + i) % 2 == 0 ? a : b).url("/" + name)});
          scope.cancel();
          if (got.error)
            ++failed;
          else if (got.body == name)
            ++good;
          else
            ++wrong;
        }
        group.done();
      });
    }
    (void)group.wait();
    rig.client().close();
    (void)until([&] { return rig.metrics.connections->value() == 0; });
  });
  CHECK(wrong == 0);
  CHECK(good + failed == 3'600);
  CHECK(good >= 1'800);
  CHECK(rig.metrics.connections->value() == 0);
  CHECK(rig.metrics.idle->value() == 0);
}

TEST_CASE("client: may die after its runtime, with connections that are idle", "[integration][client]") {
  HostileUpstream upstream({answers(kOk)});
  http::Client client;
  {
    auto runtime = runtime::Runtime::start({.gomaxprocs = 2});
    REQUIRE(runtime);
    Fetched got;
    (*runtime)->run([&] { got = fetch(context::background(), client, {.url = upstream.url()}); });
    CHECK(got.body == "ok");
  }
  CHECK(client.idle() == 1);
}

TEST_CASE("client: unasked bytes that the Poller has not seen yet are seen by who takes the connection",
          "[integration][client]") {
  // One Processor, whose fiber lets nobody poll between the two requests. Within `trust` only a POST asks the kernel.
  for (const bool post : {false, true}) {
    for (int round = 0; round < 10; ++round) {
      std::atomic<bool> kept{false};
      std::atomic<bool> sent{false};
      HostileUpstream upstream({[&](UpstreamPeer& peer) {
                                  if (!peer.read_request() || !peer.send(kOk)) return;
                                  while (!kept) std::this_thread::yield();
                                  peer.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil");
                                  sent = true;
                                  while (peer.read_request()) peer.send(kOk);
                                },
                                answers(kSecond)});
      ClientFixture rig({.pool = {.trust = post ? std::chrono::nanoseconds(1h) : 100us}}, 1);
      const std::string url = upstream.url();
      Fetched got;
      rig.run([&] {
        (void)fetch(context::background(), rig.client(), {.url = url});
        kept = true;
        const auto begun = std::chrono::steady_clock::now();
        while (!sent || std::chrono::steady_clock::now() - begun < 500us) {
        }
        got = fetch(context::background(), rig.client(),
                    {.method = post ? http::Method::post : http::Method::get, .url = url});
      });
      CHECK(got.body == "second");
      CHECK(rig.metrics.idle_ended->value() == 1);
    }
  }
}
