#pragma once
// Seat: where a machine waits for the one fiber that may run on it (lock_thread.cpp), and how that fiber is called
// there when somebody has made it runnable. One word and a count, on the machine.
//
//   awake    the fiber runs, or is about to: nobody has called
//   asleep   the machine sleeps until somebody calls
//   called   the fiber is runnable and the machine has not taken it yet
//
// Who wins a fiber's wait (status_word.hpp) is the only one who calls, and the next call comes after the fiber has run
// again: so there is one call for each wait of the machine, whichever of the two is first. A call that came first is
// found by the machine's CAS, one that comes later finds `asleep` and wakes it: no order of the two loses it.
//
// A call hands over a fiber, and with it the machine: as soon as the word says `called` the fiber may run, leave its
// thread to others, end, and the machine be given back to the system, while its caller has still to wake a sleeper that
// is none any more. So callers count themselves in before and out as the last they do here, and vacate() waits until
// none is left. That wait is bounded by a few instructions and a futex call of another thread.
//
// Rejected: a lock around each call (the wake-up's system call would be made under it, and all callers of all locked
// fibers stand behind it); machines that are never freed (a burst of locked fibers would leave theirs for ever).
//
// Atomic and Sleep are parameters for tests/model.
#include <sched.h>

#include <atomic>
#include <cstdint>

namespace fiberd::runtime {

struct SeatSleep {
  static void wait_while(std::atomic<std::uint32_t>& word, std::uint32_t value) noexcept {
    word.wait(value, std::memory_order_acquire);
  }
  static void notify(std::atomic<std::uint32_t>& word) noexcept { word.notify_one(); }
  static void pause(std::atomic<std::uint32_t>& /*count*/, std::uint32_t /*seen*/) noexcept { sched_yield(); }
};

template <template <class> class Atomic = std::atomic, class Sleep = SeatSleep>
class BasicSeat {
 public:
  /// Who has made the machine's fiber runnable. Any thread, the machine itself included.
  void call() noexcept {
    callers_.fetch_add(1, std::memory_order_relaxed);
    if (word_.exchange(kCalled, std::memory_order_acq_rel) == kAsleep) Sleep::notify(word_);
    callers_.fetch_sub(1, std::memory_order_release);
  }
  /// The machine: until it is called.
  void wait() noexcept {
    std::uint32_t w = kAwake;
    if (word_.compare_exchange_strong(w, kAsleep, std::memory_order_acq_rel, std::memory_order_acquire))
      while (word_.load(std::memory_order_acquire) == kAsleep) Sleep::wait_while(word_, kAsleep);
    // Nobody calls again before the fiber has run.
    word_.store(kAwake, std::memory_order_relaxed);
  }
  /// The fiber, for the last time on its machine: until whoever called has gone.
  void vacate() noexcept {
    while (const std::uint32_t n = callers_.load(std::memory_order_acquire)) Sleep::pause(callers_, n);
  }
  /// For statistics: the fiber runs.
  [[nodiscard]] bool awake() const noexcept { return word_.load(std::memory_order_relaxed) == kAwake; }

 private:
  static constexpr std::uint32_t kAwake = 0;
  static constexpr std::uint32_t kAsleep = 1;
  static constexpr std::uint32_t kCalled = 2;
  Atomic<std::uint32_t> word_{kAwake};
  Atomic<std::uint32_t> callers_{0};
};

using Seat = BasicSeat<>;

}  // namespace fiberd::runtime
