#pragma once
// StatusWord: one atomic word says what a fiber does, why it waits, which wait it is and who ended that wait.
//
//   bits  0–3  state     idle → runnable → running → parking → parked → runnable → …
//   bits  4–5  cause     who won the present wait: none, ready, timeout, canceled
//   bit   6    scan      somebody walks the parked stack
//   bits  8–15 reason    WaitReason
//   bits 32–63 sequence  number of the wait; a Ticket carries it
//
// The park protocol. A fiber that wants to wait first says so (parking, sequence + 1), then publishes its ticket, then
// switches away; only after its registers are saved does the scheduler commit (parking → parked). A waker wins by one
// CAS that checks the sequence:
//   parking → notified   the fiber has not left its stack yet: the committer sees it and queues the fiber
//   parked  → runnable   the waker queues the fiber
// So a wake-up is never lost (there is no state in which a valid ticket is ignored), never doubled (one CAS wins), and
// a fiber is never run while its registers are still being saved. A stale ticket fails the sequence check.
//
// The scan bit. A walker may read a fiber's stack only while it is parked: parked → parked|scan. A waker that finds
// the bit takes the wait (runnable|scan) but leaves the queueing to the walker, which finds the state changed when it
// takes its bit away. The waker never spins on a walker.
//
// Rejected: a lock per fiber (two atomics more on every park); Go's commit function under the waited-for object's lock
// (every primitive needs its own, and time-outs need a second protocol to agree on the winner).
//
// Atomic is std::atomic; tests/model instantiates the template with its own to visit every interleaving.
#include <atomic>
#include <cstdint>

#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

enum class State : std::uint8_t { idle, runnable, running, parking, notified, parked };

template <template <class> class Atomic = std::atomic>
class BasicStatusWord {
 public:
  enum class WakeResult : std::uint8_t {
    lost,      ///< the wait is over or another waker won
    deferred,  ///< won; the committer or the walker queues the fiber
    enqueue    ///< won; the caller must queue the fiber
  };

  [[nodiscard]] State state() const noexcept { return state_of(word_.load(std::memory_order_acquire)); }
  [[nodiscard]] WaitReason reason() const noexcept {
    return static_cast<WaitReason>((word_.load(std::memory_order_acquire) >> 8U) & 0xffU);
  }
  [[nodiscard]] std::uint32_t sequence() const noexcept { return seq_of(word_.load(std::memory_order_relaxed)); }

  // ---- the fiber itself, or the scheduler that owns it at that moment (idle, runnable, running) ----

  /// Any owned state → `s`; keeps sequence and cause.
  void set_owned(State s) noexcept {
    const std::uint64_t w = word_.load(std::memory_order_relaxed);
    word_.store((w & ~kStateMask) | static_cast<std::uint64_t>(s), std::memory_order_release);
  }
  /// running → parking, next sequence, no cause. Returns the sequence.
  std::uint32_t begin_park(WaitReason reason) noexcept {
    const std::uint32_t seq = seq_of(word_.load(std::memory_order_relaxed)) + 1;
    word_.store((std::uint64_t{seq} << 32U) | (static_cast<std::uint64_t>(reason) << 8U) |
                    static_cast<std::uint64_t>(State::parking),
                std::memory_order_release);
    return seq;
  }
  /// Still on the fiber: has a waker already won?
  [[nodiscard]] bool notified() const noexcept {
    return state_of(word_.load(std::memory_order_acquire)) == State::notified;
  }
  /// Back to running without having left. Returns the winner of the wait, none if nobody woke it.
  /// Acquires what the waker wrote before it, also where it was faster than this call.
  Wake abandon_park() noexcept {
    std::uint64_t w = word_.load(std::memory_order_acquire);
    if (state_of(w) == State::parking &&
        word_.compare_exchange_strong(w, with_state(w, State::running), std::memory_order_acq_rel,
                                      std::memory_order_acquire))
      return Wake::none;
    word_.store(with_state(w, State::running), std::memory_order_release);
    return cause_of(w);
  }
  /// After the switch: parking → parked (true), or a waker was faster and the caller must queue the fiber (false).
  [[nodiscard]] bool commit_park() noexcept {
    // Acquire: a waker that was faster published its results through this word and nothing else.
    std::uint64_t w = word_.load(std::memory_order_acquire);
    if (state_of(w) == State::parking &&
        word_.compare_exchange_strong(w, with_state(w, State::parked), std::memory_order_acq_rel,
                                      std::memory_order_acquire))
      return true;
    word_.store(with_state(w, State::runnable), std::memory_order_release);
    return false;
  }
  /// Who ended the last wait.
  [[nodiscard]] Wake cause() const noexcept { return cause_of(word_.load(std::memory_order_relaxed)); }

  // ---- anybody ----

  WakeResult wake(std::uint32_t sequence, Wake cause) noexcept {
    std::uint64_t w = word_.load(std::memory_order_acquire);
    for (;;) {
      if (seq_of(w) != sequence) return WakeResult::lost;
      const State s = state_of(w);
      if (s != State::parking && s != State::parked) return WakeResult::lost;
      const State next = s == State::parking ? State::notified : State::runnable;
      const std::uint64_t desired = with_state(w, next) | (static_cast<std::uint64_t>(cause) << 4U);
      if (word_.compare_exchange_weak(w, desired, std::memory_order_acq_rel, std::memory_order_acquire))
        return s == State::parked && (w & kScan) == 0 ? WakeResult::enqueue : WakeResult::deferred;
    }
  }
  /// Walker: true when the fiber is parked and stays so, as far as its stack is concerned, until end_scan().
  [[nodiscard]] bool begin_scan() noexcept {
    std::uint64_t w = word_.load(std::memory_order_acquire);
    while (state_of(w) == State::parked && (w & kScan) == 0)
      if (word_.compare_exchange_weak(w, w | kScan, std::memory_order_acq_rel, std::memory_order_acquire)) return true;
    return false;
  }
  /// Walker: true when the fiber was woken meanwhile and the caller must queue it.
  [[nodiscard]] bool end_scan() noexcept {
    std::uint64_t w = word_.load(std::memory_order_acquire);
    while (!word_.compare_exchange_weak(w, w & ~kScan, std::memory_order_acq_rel, std::memory_order_acquire)) {
    }
    return state_of(w) == State::runnable;
  }

 private:
  static constexpr std::uint64_t kStateMask = 0xf;
  static constexpr std::uint64_t kScan = 1U << 6U;
  static constexpr State state_of(std::uint64_t w) noexcept { return static_cast<State>(w & kStateMask); }
  static constexpr Wake cause_of(std::uint64_t w) noexcept { return static_cast<Wake>((w >> 4U) & 3U); }
  static constexpr std::uint32_t seq_of(std::uint64_t w) noexcept { return static_cast<std::uint32_t>(w >> 32U); }
  static constexpr std::uint64_t with_state(std::uint64_t w, State s) noexcept {
    return (w & ~kStateMask) | static_cast<std::uint64_t>(s);
  }

  Atomic<std::uint64_t> word_{0};
};

using StatusWord = BasicStatusWord<>;

}  // namespace fiberd::runtime
