// The poll word under simulated schedules: real waits with deadlines, simulated edges, and interruptions before every
// access.
#include <catch2/catch.hpp>

#include <array>
#include <string>

#include "core/runtime/poll_word.hpp"
#include "tests/support/seeds.hpp"
#include "tests/support/yielding_atomic.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

using Word = BasicPollWord<test::YieldingAtomic>;

/// Takes the waiter's ticket away and keeps no edge: wrong for a waiter that times out at that moment.
class DropsReady : public Word {
 public:
  Notified notify() noexcept {
    const Notified n = Word::notify();
    if (n.ticket) clear_ready();
    return n;
  }
};

/// A socket as edge-triggered epoll shows it. The word's accesses may yield, and a fiber must not yield inside a wait
/// that it has begun; so the word gets tickets of a wait that is kept here, and the real one begins after it is
/// published.
template <class W>
struct Socket {
  W word;
  int bytes = 0;
  bool closed = false;

  void send(int n) {
    bytes += n;
    if (const auto notified = word.notify(); notified.ticket) end_wait(notified.ticket, Wake::ready);
  }
  void close() {
    closed = true;
    if (const Ticket t = word.close()) end_wait(t, Wake::canceled);
  }
  /// As PollDescriptor::wait.
  Wake wait(Deadline deadline) {
    cause_ = Wake::none;
    const Ticket mine{(std::uint64_t{1} << 32U) | ++waits_};
    switch (word.begin_wait(mine)) {
      case W::Begin::ready: return Wake::ready;
      case W::Begin::closed: return Wake::canceled;
      case W::Begin::busy: throw test::BrokenInvariant("busy, and nobody else waits");
      case W::Begin::waiting: break;
    }
    if (cause_ == Wake::none) {
      parked_ = prepare_park(WaitReason::io_read);
      const Wake w = park_until(parked_, deadline);
      parked_ = {};
      if (cause_ == Wake::none) cause_ = w;
    }
    const Wake won = cause_;
    ++waits_;  // over: later wakes are stale
    if (won == Wake::ready) return word.end_ready() ? Wake::ready : Wake::canceled;
    word.withdraw(mine);
    return won;
  }

 private:
  void end_wait(Ticket ticket, Wake cause) {
    if (ticket.sequence() != waits_ || cause_ != Wake::none) return;
    cause_ = cause;
    if (parked_) wake(parked_);
  }
  std::uint32_t waits_ = 0;
  Wake cause_ = Wake::none;
  Ticket parked_;
};

/// The reader waits again after each read without looking for more: only an edge tells it. A lost edge is a deadlock,
/// since every third wait has no deadline.
template <class W>
void reader_and_peer(std::uint64_t seed) {
  static constexpr int kMessages = 20;
  test::yielding_random = Random(seed + 1);
  Socket<W> socket;
  int eaten = 0;
  int left = 1;
  (void)spawn("peer", [&] {
    for (int i = 0; i < kMessages; ++i) {
      if (test::yielding_random.below(2) == 0)
        (void)sleep_for(std::chrono::nanoseconds(test::yielding_random.below(5000)));
      socket.send(1);
    }
    --left;
  });
  for (int waits = 0; eaten < kMessages; ++waits) {
    const Deadline deadline =
        waits % 3 == 2 ? Deadline::never() : Deadline::in(std::chrono::nanoseconds(test::yielding_random.below(3000)));
    switch (socket.wait(deadline)) {
      case Wake::ready:
        eaten += socket.bytes;
        socket.bytes = 0;
        break;
      case Wake::timeout: break;
      default: throw test::BrokenInvariant("cancelled by nobody");
    }
    test::invariant(waits < 10'000, "the reader never comes to an end");
  }
  while (left != 0) (void)sleep_for(1us);  // NOLINT(bugprone-infinite-loop): other fibers do it
  test::invariant(eaten == kMessages, "bytes were never read");
}

/// Closed at any moment: the reader hears of it, whatever it did just then.
void reader_and_close(std::uint64_t seed) {
  test::yielding_random = Random(seed + 1);
  Socket<Word> socket;
  int left = 2;
  (void)spawn("peer", [&] {
    for (int i = 0; i < 5; ++i) socket.send(1);
    --left;
  });
  (void)spawn("closer", [&] {
    (void)sleep_for(std::chrono::nanoseconds(test::yielding_random.below(4000)));
    socket.close();
    --left;
  });
  int after_close = 0;
  for (;;) {
    const bool closed_before = socket.closed;
    const Wake w = socket.wait(Deadline::never());
    if (w == Wake::canceled) break;
    test::invariant(w == Wake::ready, "a time-out without a deadline");
    // One edge that came before the close may still be told; then there is nothing left to tell.
    test::invariant(!closed_before || ++after_close <= 1, "ready again and again on a closed word");
  }
  test::invariant(socket.word.closed(), "cancelled before the close");
  while (left != 0) (void)sleep_for(1us);  // NOLINT(bugprone-infinite-loop): other fibers do it
}

/// Idle periods, ended by an edge, by the timer or by a claim: one owner each, and no edge is lost.
void idle_periods(std::uint64_t seed) {
  static constexpr std::uint32_t kPeriods = 10;
  test::yielding_random = Random(seed + 1);
  Word word;
  std::array<int, kPeriods + 2> owners{};
  std::uint32_t generation = 1;
  bool over = false;
  int left = 3;
  // By whoever owns the connection: reads, and goes idle again.
  const auto own = [&](std::uint32_t period) {
    for (;;) {
      test::invariant(++owners.at(period) == 1, "two owners of one idle period");
      if (period == kPeriods) {
        over = true;
        return;
      }
      period = generation = period + 1;
      if (word.go_idle(period)) return;
      // An edge is there: the owner goes on at once.
    }
  };
  std::string broken;  // an exception of these fibers would be logged and forgotten
  const auto guarded = [&](auto body) {
    return [&, body] {
      try {
        while (!over) {  // NOLINT(bugprone-infinite-loop): other fibers do it
          body();
          (void)sleep_for(std::chrono::nanoseconds(test::yielding_random.below(2000)));
        }
      } catch (const test::BrokenInvariant& e) {
        broken = e.what();
        over = true;
      }
      --left;
    };
  };
  (void)word.go_idle(1);
  (void)spawn("edges", guarded([&] {
                const std::uint32_t idle = generation;
                if (word.notify().start_idle) {
                  test::invariant(generation >= idle, "an old period");
                  own(generation);
                }
              }));
  (void)spawn("timer", guarded([&] {
                const std::uint32_t g = word.idle_generation();
                test::may_yield();
                if (g != 0 && word.claim_idle(g)) {
                  test::invariant(g == generation, "the timer ended another period than the one it saw");
                  own(g);
                }
              }));
  (void)spawn("drain", guarded([&] {
                const std::uint32_t g = word.idle_generation();
                if (g != 0 && word.claim_idle(g)) own(g);
              }));
  while (left != 0) (void)sleep_for(1us);  // NOLINT(bugprone-infinite-loop): other fibers do it
  test::invariant(broken.empty(), broken);
  for (std::uint32_t p = 1; p <= kPeriods; ++p)
    test::invariant(owners.at(p) == 1, "idle period " + std::to_string(p) + " was never ended");
}

}  // namespace

TEST_CASE("poll word: no edge is lost to a reader with deadlines, under 10,000 seeds", "[poll_word][seeds]") {
  test::for_each_simulation(10'000, &reader_and_peer<Word>);
}

TEST_CASE("poll word: a close is heard, under 10,000 seeds", "[poll_word][seeds]") {
  test::for_each_simulation(10'000, &reader_and_close);
}

TEST_CASE("poll word: each idle period has one owner, under 10,000 seeds", "[poll_word][seeds]") {
  test::for_each_simulation(10'000, &idle_periods);
}

TEST_CASE("poll word: the simulation finds a word that drops edges", "[poll_word][seeds][teeth]") {
  const std::string broken = test::first_broken_seed(
      10'000, [](std::uint64_t seed) { return test::simulate(seed, &reader_and_peer<DropsReady>); });
  CHECK(broken.find("deadlock") != std::string::npos);
}
