#include "core/runtime/acceptor.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <functional>
#include <thread>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;

namespace {

/// A listening socket whose callback accepts until EAGAIN and closes what it got.
struct Listener {
  Listener() {
    fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof address;
    REQUIRE(bind(fd, reinterpret_cast<sockaddr*>(&address), sizeof address) == 0);
    REQUIRE(getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0);
    REQUIRE(listen(fd, 512) == 0);
  }
  ~Listener() { close(fd); }
  static void on_readable(void* argument) noexcept {
    auto& l = *static_cast<Listener*>(argument);
    ++l.callbacks;
    for (int c = 0; (c = accept4(l.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0;) {
      ++l.accepted;
      close(c);
    }
  }
  /// From a plain thread. The connection stands as soon as the kernel has queued it.
  bool connect_once() const {
    const int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const bool ok = connect(c, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
    close(c);
    return ok;
  }
  int fd = -1;
  sockaddr_in address{};
  std::atomic<int> accepted{0};
  std::atomic<int> callbacks{0};
};

/// Up to five seconds.
bool spin_until(const std::function<bool()>& condition) {
  const std::int64_t end = monotonic_now() + 5'000'000'000;
  while (!condition()) {
    if (monotonic_now() > end) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace

TEST_CASE("an acceptor in two Pollers takes every connection once", "[acceptor]") {
  Listener l;
  auto rt = test::start_runtime(2);
  auto registration = AcceptorRegistration::add(rt->scheduler(), l.fd, &Listener::on_readable, &l);
  REQUIRE(registration);
  for (int i = 0; i < 200; ++i) REQUIRE(l.connect_once());
  CHECK(spin_until([&] { return l.accepted == 200; }));
}

TEST_CASE("a suspended acceptor is silent, and resumed it finds what waits", "[acceptor]") {
  Listener l;
  auto rt = test::start_runtime(2);
  auto registration = AcceptorRegistration::add(rt->scheduler(), l.fd, &Listener::on_readable, &l);
  REQUIRE(registration);
  (*registration)->suspend();
  (*registration)->suspend();
  REQUIRE(l.connect_once());
  // Both Processors go through their Pollers meanwhile.
  for (int i = 0; i < 20; ++i) rt->run([] { (void)sleep_for(std::chrono::microseconds(200)); });
  CHECK(l.accepted == 0);
  (*registration)->resume();
  (*registration)->resume();
  CHECK(spin_until([&] { return l.accepted == 1; }));
}

TEST_CASE("a removed acceptor is never called again, even with events in flight", "[acceptor]") {
  auto rt = test::start_runtime(2);
  int late = 0;
  for (int round = 0; round < 50; ++round) {
    Listener l;
    auto registration = AcceptorRegistration::add(rt->scheduler(), l.fd, &Listener::on_readable, &l);
    REQUIRE(registration);
    std::thread client([&] {
      for (int i = 0; i < 5; ++i) (void)l.connect_once();
    });
    if (round % 2 != 0) (void)spin_until([&] { return l.callbacks > 0; });
    registration->reset();
    const int seen = l.callbacks;
    client.join();
    rt->run([] { yield(); });
    late += l.callbacks != seen;
  }
  CHECK(late == 0);
}

TEST_CASE("a raise of GOMAXPROCS registers the new Pollers, a fall loses nothing", "[acceptor]") {
  Listener l;
  auto rt = test::start_runtime(1);
  auto registration = AcceptorRegistration::add(rt->scheduler(), l.fd, &Listener::on_readable, &l);
  REQUIRE(registration);
  int expected = 0;
  for (const unsigned n : {3U, 1U, 2U, 4U, 1U}) {
    rt->set_gomaxprocs(n);
    for (int i = 0; i < 20; ++i) REQUIRE(l.connect_once());
    expected += 20;
    CHECK(spin_until([&] { return l.accepted == expected; }));
  }
  // Suspension reaches the places that are out of use as well.
  (*registration)->suspend();
  REQUIRE(l.connect_once());
  rt->set_gomaxprocs(4);
  for (int i = 0; i < 20; ++i) rt->run([] { (void)sleep_for(std::chrono::microseconds(200)); });
  CHECK(l.accepted == expected);
  (*registration)->resume();
  CHECK(spin_until([&] { return l.accepted == expected + 1; }));
}
