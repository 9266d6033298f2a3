#include "core/runtime/poll_descriptor.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>
#include <catch2/catch.hpp>

#include <array>
#include <atomic>
#include <memory>
#include <thread>
#include <utility>

#include "core/runtime/runtime.hpp"
#include "tests/support/start_runtime.hpp"

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
}  // namespace

TEST_CASE("waiting for bytes", "[poll]") {
  for (unsigned processors : {1U, 2U}) {
    Pair p;
    std::error_code e = std::make_error_code(std::errc::io_error);
    char c = 0;
    test::start_runtime(processors)->run([&] {
      PollDescriptor* d = *PollDescriptor::open(p.fd[0]);
      (void)spawn("writer", [&] { (void)!write(p.fd[1], "x", 1); });
      e = error_of(d->wait(Direction::read, WaitReason::io_read));
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
  test::start_runtime(2)->run([&] {
    PollDescriptor* d = *PollDescriptor::open(p.fd[0]);
    deadline = error_of(d->wait(Direction::read, WaitReason::io_read, Deadline::in(2ms)));
    CancelSource c;
    (void)spawn("cancel", [&] { c.cancel(); });
    canceled = error_of(d->wait(Direction::read, WaitReason::io_read, Deadline::never(), &c));
    (void)spawn("shut", [d] { d->shutdown(); });
    shut = error_of(d->wait(Direction::read, WaitReason::io_read));
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
  test::start_runtime(1)->run([&] {
    PollDescriptor* d = *PollDescriptor::open(p.fd[0]);
    std::array<char, 65536> block{};
    (void)spawn("reader", [&] {
      PollDescriptor* r = *PollDescriptor::open(p.fd[1]);
      std::array<char, 65536> in{};
      while (drained < 4 * 1024 * 1024) {
        const ssize_t n = read(p.fd[1], in.data(), in.size());
        if (n > 0)
          drained += static_cast<std::size_t>(n);
        else if (!r->wait(Direction::read, WaitReason::io_read))
          break;
      }
      r->close();
    });
    while (written < 4 * 1024 * 1024) {
      const ssize_t n = write(p.fd[0], block.data(), block.size());
      if (n > 0)
        written += static_cast<std::size_t>(n);
      else if (!d->wait(Direction::write, WaitReason::io_write, Deadline::in(5s)))
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
  [[nodiscard]] bool go(PollDescriptor& descriptor, Deadline deadline) {
    static constexpr IdleHandler kHandler{[](void* a) noexcept { ++static_cast<Idle*>(a)->ready; },
                                          [](void* a) noexcept { ++static_cast<Idle*>(a)->timeouts; }};
    return descriptor.go_idle(kHandler, this, deadline);
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
  test::start_runtime(1)->run([&] {
    idle.d = *PollDescriptor::open(p.fd[0]);
    parked = idle.go(*idle.d, Deadline::never());
    (void)!write(p.fd[1], "x", 1);
    for (int i = 0; i < 1000 && idle.ready == 0; ++i) (void)sleep_for(100us);
    char c = 0;
    (void)!read(p.fd[0], &c, 1);
    // Bytes that came before going idle: the caller is told to read.
    (void)!write(p.fd[1], "y", 1);
    (void)sleep_for(2ms);
    second = idle.go(*idle.d, Deadline::never());
    (void)!read(p.fd[0], &c, 1);
    (void)idle.go(*idle.d, Deadline::in(3ms));
    for (int i = 0; i < 1000 && idle.timeouts == 0; ++i) (void)sleep_for(100us);
    (void)idle.go(*idle.d, Deadline::in(10s));
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

TEST_CASE("a deadline ends the idle period it was given for, and none behind it", "[poll]") {
  Pair p;
  Idle idle;
  int early = 0;
  bool still = false;
  bool later = false;
  test::start_runtime(1)->run([&] {
    idle.d = *PollDescriptor::open(p.fd[0]);
    const auto end_by_bytes = [&] {
      const int before = idle.ready;
      (void)!write(p.fd[1], "x", 1);
      for (int i = 0; i < 1000 && idle.ready == before; ++i) (void)sleep_for(100us);
      char c = 0;
      (void)!read(p.fd[0], &c, 1);
    };
    // Its timer fires in a period without a deadline, and in one with a later one.
    (void)idle.go(*idle.d, Deadline::in(5ms));
    end_by_bytes();
    (void)idle.go(*idle.d, Deadline::never());
    (void)sleep_for(15ms);
    still = idle.d->is_idle();
    end_by_bytes();
    (void)idle.go(*idle.d, Deadline::in(5ms));
    end_by_bytes();
    const std::int64_t begin = monotonic_now();
    (void)idle.go(*idle.d, Deadline::after(begin, 30ms));
    early = idle.timeouts;
    for (int i = 0; i < 1000 && idle.timeouts == 0; ++i) (void)sleep_for(1ms);
    later = monotonic_now() - begin >= 30'000'000;
    idle.d->close();
  });
  CHECK(early == 0);
  CHECK(still);
  CHECK(later);
  CHECK(idle.timeouts == 1);
}

TEST_CASE("an event of a closed descriptor does not reach its successor", "[poll]") {
  // Same memory, same number: close and reopen while bytes are pending in epoll.
  std::error_code e;
  test::start_runtime(1)->run([&] {
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
      e = error_of(next->wait(Direction::read, WaitReason::io_read, Deadline::in(1ms)));
      next->close();
      for (int fd : {a[0], a[1], b[0], b[1]}) close(fd);
      if (e != std::errc::timed_out) return;
    }
  });
  CHECK(e == std::errc::timed_out);
}

namespace {
struct Watch : HangUpWatch {
  Watch() noexcept {
    on_hang_up = [](HangUpWatch& watch, bool reset) noexcept {
      auto& self = static_cast<Watch&>(watch);
      ++(reset ? self.resets : self.ends);
    };
  }
  std::atomic<int> ends{0};
  std::atomic<int> resets{0};
};
bool wait_for(const std::atomic<int>& n) {
  for (int i = 0; i < 5'000 && n == 0; ++i) (void)sleep_for(1ms);
  return n != 0;
}
}  // namespace

TEST_CASE("a peer that goes away is told of while nobody reads: the end of its stream, and more", "[poll]") {
  Pair p;
  Watch watch;
  Watch late;
  Watch gone;
  bool ended = false;
  bool reset = false;
  bool idle = false;
  bool woke = false;
  test::start_runtime(2)->run([&] {
    PollDescriptor* const d = *PollDescriptor::open(p.fd[0]);
    if (!d->watch_hang_up(watch)) return;
    (void)!write(p.fd[1], "x", 1);
    (void)::shutdown(p.fd[1], SHUT_WR);
    ended = wait_for(watch.ends) && watch.resets == 0 && !d->was_reset();
    d->unwatch_hang_up(watch);
    // Told at once of what is known.
    if (!d->watch_hang_up(late)) return;
    (void)close(std::exchange(p.fd[1], -1));
    reset = late.ends == 1 && wait_for(late.resets) && d->was_reset();
    d->unwatch_hang_up(watch);  // not the one that watches now
    d->unwatch_hang_up(late);
    d->close();

    // An idle handler is not mistaken for a watch, nor the other way round.
    Pair q;
    PollDescriptor* const other = *PollDescriptor::open(q.fd[0]);
    if (!other->watch_hang_up(gone)) return;
    other->unwatch_hang_up(gone);
    Idle state;
    idle = state.go(*other, Deadline::never());
    (void)close(std::exchange(q.fd[1], -1));
    woke = wait_for(state.ready);
    other->close();
  });
  CHECK(ended);
  CHECK(reset);
  CHECK(idle);
  CHECK(woke);
  CHECK(gone.ends + gone.resets == 0);
}

TEST_CASE("watching comes and goes while the peer goes away: never told after unwatch or close", "[poll]") {
  std::atomic<int> wrong{0};
  int told = 0;
  test::start_runtime(2)->run([&] {
    for (int i = 0; i < 3'000; ++i) {
      std::array<int, 2> fd{};
      if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd.data()) != 0) return;
      PollDescriptor* const d = *PollDescriptor::open(fd[0]);
      std::atomic<bool> closed{false};
      (void)spawn_on(1, "peer", [&closed, peer = fd[1]] {
        (void)close(peer);
        closed = true;
      });
      {
        auto watch = std::make_unique<Watch>();
        if (!d->watch_hang_up(*watch)) ++wrong;
        for (int k = 0; k < i % 4; ++k) yield();
        if (i % 64 == 3) {  // whatever the machine does, some are told
          const std::int64_t last = monotonic_now() + 10'000'000'000;
          while (watch->ends + watch->resets == 0 && monotonic_now() < last) (void)sleep_for(100us);
        }
        if (i % 2 == 0) d->unwatch_hang_up(*watch);
        if (i % 2 != 0) d->close();
        const int seen = watch->ends + watch->resets;
        yield();
        if (watch->ends + watch->resets != seen) ++wrong;
        told += seen != 0 ? 1 : 0;
      }
      while (!closed) yield();
      if (i % 2 == 0) d->close();
      (void)close(fd[0]);
    }
  });
  CHECK(wrong == 0);
  CHECK(told > 0);
}
