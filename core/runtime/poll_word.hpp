#pragma once
// PollWord: one direction of a descriptor's readiness, and whoever waits for it, in one atomic word.
//
//   nil      nothing known, nobody waits
//   ready    an edge came and nobody has used it yet
//   ticket   one fiber waits
//   idle(g)  no fiber at all: an idle connection of generation g, to be started by its handler
//   closed   shut down; final until reset()
//
// Edge-triggered epoll tells each edge once, so an edge must be kept until used: notify() leaves `ready` behind even
// when it wakes a waiter. The waiter takes `ready` away after it woke, and only then reads: bytes that arrive between
// make a new edge. A waiter that timed out takes only its own ticket away and leaves `ready` for the next.
// idle → active is one CAS, by whoever comes first: notify (bytes), the idle timer, or claim (drain, reclaim, reload).
// The generation lets the timer be sure that the idle period it ends is the one whose deadline it has read.
#include <atomic>
#include <cstdint>

#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

template <template <class> class Atomic = std::atomic>
class BasicPollWord {
 public:
  enum class Begin : std::uint8_t { waiting, ready, closed, busy };
  struct Notified {
    Ticket ticket;            ///< to be woken if set
    bool start_idle = false;  ///< the caller now owns the idle connection and must run its handler
  };

  /// An edge arrived.
  Notified notify() noexcept {
    std::uint64_t w = word_.load(std::memory_order_acquire);
    for (;;) {
      if (w == kReady || w == kClosed) return {};
      const bool idle = is_idle(w);
      if (word_.compare_exchange_weak(w, idle ? kNil : kReady, std::memory_order_acq_rel, std::memory_order_acquire)) {
        if (idle) return {{}, true};
        return {Ticket{w}, false};  // nil is 0: no ticket
      }
    }
  }
  /// Publishes `ticket`, or says why not: ready (consumed; try the operation), closed, or another fiber waits already.
  Begin begin_wait(Ticket ticket) noexcept {
    std::uint64_t w = word_.load(std::memory_order_acquire);
    for (;;) {
      if (w == kClosed) return Begin::closed;
      if (w != kNil && w != kReady) return Begin::busy;
      const bool ready = w == kReady;
      if (word_.compare_exchange_weak(w, ready ? kNil : ticket.value, std::memory_order_acq_rel,
                                      std::memory_order_acquire))
        return ready ? Begin::ready : Begin::waiting;
    }
  }
  /// After Wake::ready: uses the edge up. False when it was a shutdown.
  bool end_ready() noexcept {
    std::uint64_t w = kReady;
    return word_.compare_exchange_strong(w, kNil, std::memory_order_acq_rel, std::memory_order_acquire) || w != kClosed;
  }
  /// After a time-out or cancellation: withdraws the ticket; an edge that came meanwhile stays.
  void withdraw(Ticket ticket) noexcept {
    std::uint64_t w = ticket.value;
    word_.compare_exchange_strong(w, kNil, std::memory_order_acq_rel, std::memory_order_acquire);
  }
  /// Forgets an edge whose bytes are known to be read.
  void clear_ready() noexcept {
    std::uint64_t w = kReady;
    word_.compare_exchange_strong(w, kNil, std::memory_order_acq_rel, std::memory_order_acquire);
  }
  /// nil → idle(generation). False when an edge is there (used up: the caller reads) or the word is closed.
  [[nodiscard]] bool go_idle(std::uint32_t generation) noexcept {
    std::uint64_t w = word_.load(std::memory_order_acquire);
    for (;;) {
      if (w != kNil && w != kReady) return false;
      const bool ready = w == kReady;
      if (word_.compare_exchange_weak(w, ready ? kNil : idle_word(generation), std::memory_order_acq_rel,
                                      std::memory_order_acquire))
        return !ready;
    }
  }
  /// idle(generation) → nil. True for one caller.
  [[nodiscard]] bool claim_idle(std::uint32_t generation) noexcept {
    std::uint64_t w = idle_word(generation);
    return word_.compare_exchange_strong(w, kNil, std::memory_order_acq_rel, std::memory_order_acquire);
  }
  /// The generation of the idle period that goes on now, 0 if none.
  [[nodiscard]] std::uint32_t idle_generation() const noexcept {
    const std::uint64_t w = word_.load(std::memory_order_acquire);
    return is_idle(w) ? static_cast<std::uint32_t>(w >> 4U) : 0;
  }
  /// Any → closed. Returns what was there: a ticket to cancel, if any.
  Ticket close() noexcept {
    const std::uint64_t w = word_.exchange(kClosed, std::memory_order_acq_rel);
    return w > kLastSpecial ? Ticket{w} : Ticket{};
  }
  [[nodiscard]] bool closed() const noexcept { return word_.load(std::memory_order_acquire) == kClosed; }
  void reset() noexcept { word_.store(kNil, std::memory_order_release); }

 private:
  static constexpr std::uint64_t kNil = 0;
  static constexpr std::uint64_t kReady = 1;
  static constexpr std::uint64_t kClosed = 2;
  static constexpr std::uint64_t kIdleTag = 3;
  static constexpr std::uint64_t kLastSpecial = 0xffff'ffff;  // fiber indices begin at 1, so tickets are larger
  static constexpr bool is_idle(std::uint64_t w) noexcept { return w <= kLastSpecial && (w & 0xfU) == kIdleTag; }
  static constexpr std::uint64_t idle_word(std::uint32_t generation) noexcept {
    return (std::uint64_t{generation & 0xfff'ffffU} << 4U) | kIdleTag;
  }
  Atomic<std::uint64_t> word_{kNil};
};

using PollWord = BasicPollWord<>;

}  // namespace fiberd::runtime
