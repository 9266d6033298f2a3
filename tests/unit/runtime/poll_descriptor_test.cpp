#include "core/runtime/poll_descriptor.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <thread>

#include "core/runtime/runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {
struct Pair {
  Pair() { REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd.data()) == 0); }
  ~Pair() {
    for (int f : fd)
      if (f >= 0) close(f);
  }
  std::array<int, 2> fd{};
};
std::unique_ptr<Runtime> start(unsigned processors) {
  auto rt = Runtime::start({.gomaxprocs = processors});
  if (!rt) throw std::system_error(rt.error());
  return std::move(*rt);
}
}  // namespace

TEST_CASE("waiting for bytes", "[poll]") {
  for (unsigned processors : {1U, 2U}) {
    Pair p;
    std::error_code e = std::make_error_code(std::errc::io_error);
    char c = 0;
    start(processors)->run([&] {
      PollDescriptor* d = *PollDescriptor::open(p.fd[0]);
      (void)spawn("writer", [&] { (void)!write(p.fd[1], "x", 1); });
      e = d->wait(Direction::read, WaitReason::io_read);
      (void)!read(p.fd[0], &c, 1);
      d->close();
    });
    CHECK_FALSE(e);
    CHECK(c == 'x');
  }
}

TEST_CASE("a poll wait ends by deadline, cancellation and shutdown", "[poll]") {
  Pair p;
  std::error_code deadline;
  std::error_code canceled;
  std::error_code shut;
  start(2)->run([&] {
    PollDescriptor* d = *PollDescriptor::open(p.fd[0]);
    deadline = d->wait(Direction::read, WaitReason::io_read, Deadline::in(2ms));
    Cancellation c;
    (void)spawn("cancel", [&] { c.cancel(); });
    canceled = d->wait(Direction::read, WaitReason::io_read, Deadline::never(), &c);
    (void)spawn("shut", [d] { d->shutdown(); });
    shut = d->wait(Direction::read, WaitReason::io_read);
    d->close();
  });
  CHECK(deadline == std::errc::timed_out);
  CHECK(canceled == std::errc::operation_canceled);
  CHECK(shut == std::errc::operation_canceled);
}

TEST_CASE("a full socket waits for room", "[poll]") {
  Pair p;
  std::size_t written = 0;
  std::size_t drained = 0;
  start(1)->run([&] {
    PollDescriptor* d = *PollDescriptor::open(p.fd[0]);
    std::array<char, 65536> block{};
    (void)spawn("reader", [&] {
      PollDescriptor* r = *PollDescriptor::open(p.fd[1]);
      std::array<char, 65536> in{};
      while (drained < 4 * 1024 * 1024) {
        const ssize_t n = read(p.fd[1], in.data(), in.size());
        if (n > 0)
          drained += static_cast<std::size_t>(n);
        else if (r->wait(Direction::read, WaitReason::io_read))
          break;
      }
      r->close();
    });
    while (written < 4 * 1024 * 1024) {
      const ssize_t n = write(p.fd[0], block.data(), block.size());
      if (n > 0)
        written += static_cast<std::size_t>(n);
      else if (d->wait(Direction::write, WaitReason::io_write, Deadline::in(5s)))
        break;
    }
    d->close();
  });
  CHECK(written >= 4 * 1024 * 1024);
  CHECK(drained >= 4 * 1024 * 1024);
}

namespace {
struct Idle {
  PollDescriptor* d = nullptr;
  std::atomic<int> ready{0};
  std::atomic<int> timeouts{0};
  IdleHandler handler() {
    return {[](void* a) noexcept { ++static_cast<Idle*>(a)->ready; },
            [](void* a) noexcept { ++static_cast<Idle*>(a)->timeouts; }, this};
  }
};
}  // namespace

TEST_CASE("an idle descriptor starts on bytes, on its deadline, or is claimed: one of them", "[poll]") {
  Pair p;
  Idle idle;
  bool parked = false;
  bool second = true;
  bool claimed = false;
  bool claimed_again = true;
  start(1)->run([&] {
    idle.d = *PollDescriptor::open(p.fd[0]);
    parked = idle.d->go_idle(idle.handler(), Deadline::never());
    (void)!write(p.fd[1], "x", 1);
    for (int i = 0; i < 1000 && idle.ready == 0; ++i) (void)sleep_for(100us);
    char c = 0;
    (void)!read(p.fd[0], &c, 1);
    // Bytes that came before going idle: the caller is told to read.
    (void)!write(p.fd[1], "y", 1);
    (void)sleep_for(2ms);
    second = idle.d->go_idle(idle.handler(), Deadline::never());
    (void)!read(p.fd[0], &c, 1);
    (void)idle.d->go_idle(idle.handler(), Deadline::in(3ms));
    for (int i = 0; i < 1000 && idle.timeouts == 0; ++i) (void)sleep_for(100us);
    (void)idle.d->go_idle(idle.handler(), Deadline::in(10s));
    claimed = idle.d->claim_idle();
    claimed_again = idle.d->claim_idle();
    (void)!write(p.fd[1], "z", 1);
    (void)sleep_for(2ms);
    idle.d->close();
  });
  CHECK(parked);
  CHECK_FALSE(second);
  CHECK(idle.ready == 1);
  CHECK(idle.timeouts == 1);
  CHECK(claimed);
  CHECK_FALSE(claimed_again);
}

TEST_CASE("an event of a closed descriptor does not reach its successor", "[poll]") {
  // Same memory, same number: close and reopen while bytes are pending in epoll.
  std::error_code e;
  start(1)->run([&] {
    for (int i = 0; i < 50; ++i) {
      std::array<int, 2> a{};
      if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, a.data()) != 0) return;
      PollDescriptor* d = *PollDescriptor::open(a[0]);
      (void)d->wait(Direction::read, WaitReason::io_read, Deadline::in(1us));
      (void)!write(a[1], "x", 1);
      d->close();
      std::array<int, 2> b{};
      if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, b.data()) != 0) return;
      PollDescriptor* next = *PollDescriptor::open(b[0]);
      e = next->wait(Direction::read, WaitReason::io_read, Deadline::in(1ms));
      next->close();
      for (int fd : {a[0], a[1], b[0], b[1]}) close(fd);
      if (e != std::errc::timed_out) return;
    }
  });
  CHECK(e == std::errc::timed_out);
}
