#pragma once
// MutexWord: what a Mutex says in one word, and every way it changes. mutex.hpp tells the whole; the queue of those who
// wait, its lock and the parking are Mutex's.
//
//   bits 3…: the owner, 0 for nobody      kWaiting   the queue is not empty (or was not, a moment ago)
//                                         kWoken     a fiber from the queue competes
//                                         kStarving  the next unlock hands over
//
// kWaiting and kStarving change only under the queue's lock, while somebody owns the mutex or by the owner itself. An
// owner that sees something to do therefore has the word for itself while it holds that lock, and wake_or_hand_over()
// may store.
//
// Atomic is std::atomic; tests/model instantiates the template with its own to visit every interleaving.
#include <atomic>
#include <cstdint>

namespace fiberd::sync {

/// `me` is an owner shifted by kOwnerShift, never 0.
template <template <class> class Atomic = std::atomic>
class BasicMutexWord {
 public:
  static constexpr unsigned kOwnerShift = 3;
  enum class Look : std::uint8_t { taken, again, held, held_alone };

  [[nodiscard]] std::uint64_t owner() const noexcept { return owner(word_.load(std::memory_order_relaxed)); }

  /// One attempt, also while others wait or compete. `me` is called only when it is free.
  template <class Me>
  [[nodiscard, gnu::always_inline]] bool take_free(Me me) noexcept {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    return owner(word) == 0 &&
           word_.compare_exchange_strong(word, word | me(), std::memory_order_acquire, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t load() const noexcept { return word_.load(std::memory_order_relaxed); }
  static constexpr std::uint64_t owner_bits(std::uint64_t word) noexcept { return word & ~kFlags; }
  /// No waiter, or somebody competes already and nobody starves.
  static constexpr bool nobody_to_wake(std::uint64_t word) noexcept {
    return (word & (kWaiting | kStarving)) == 0 || (word & (kWoken | kStarving)) == kWoken;
  }
  /// One attempt, when `word` is the owner's and nobody is to be woken.
  [[nodiscard, gnu::always_inline]] bool give_back(std::uint64_t word) noexcept {
    return word_.compare_exchange_strong(word, word & kFlags, std::memory_order_release, std::memory_order_relaxed);
  }
  /// Until taken, or somebody owns it.
  [[nodiscard]] bool take_while_free(std::uint64_t me) noexcept {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    while (owner(word) == 0)
      if (word_.compare_exchange_weak(word, me | word, std::memory_order_acquire, std::memory_order_relaxed))
        return true;
    return false;
  }
  /// One attempt of one that may be the woken one. held_alone: and nobody waits or competes.
  [[nodiscard]] Look look(std::uint64_t me, bool woken) noexcept {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    if (owner(word) != 0) return (word & kFlags) == 0 ? Look::held_alone : Look::held;
    const std::uint64_t flags = woken ? word & ~kWoken : word;
    return word_.compare_exchange_weak(word, flags | me, std::memory_order_acquire, std::memory_order_relaxed)
               ? Look::taken
               : Look::again;
  }
  /// Under the lock. True: the owner will see that somebody waits; the caller must hang itself in the queue. False: it
  /// is free.
  [[nodiscard]] bool announce(bool woken, bool starving) noexcept {
    const std::uint64_t flags = kWaiting | (starving ? kStarving : 0);
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    while (owner(word) != 0)
      if (word_.compare_exchange_weak(word, (woken ? word & ~kWoken : word) | flags, std::memory_order_relaxed,
                                      std::memory_order_relaxed))
        return true;
    return false;
  }

  // ---- by the owner
  /// True: given back, and the last touch, as the next owner may destroy the mutex. False: somebody is to be woken.
  [[nodiscard]] bool give_back_unless_awaited() noexcept {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    while (nobody_to_wake(word))
      if (word_.compare_exchange_weak(word, word & kFlags, std::memory_order_release, std::memory_order_relaxed))
        return true;
    return false;
  }
  /// Under the lock, the queue being empty: whoever set them has given up. Only the flags: were the mutex given back
  /// here, its next owner could destroy it before the lock is released.
  void nobody_waits() noexcept { word_.fetch_and(~(kWaiting | kStarving), std::memory_order_relaxed); }
  /// Under the lock, `first` (shifted) being out of the queue. True: it is the owner now; false: nobody is, and it
  /// competes. `first` is in lock() until it is woken, so the mutex stays.
  [[nodiscard]] bool wake_or_hand_over(std::uint64_t first, bool others_wait) noexcept {
    const std::uint64_t word = word_.load(std::memory_order_relaxed);
    const bool handed = (word & kStarving) != 0;
    // Nobody else changes the word now: it has an owner, and flags are set under the lock.
    word_.store((others_wait ? kWaiting : 0) | (handed ? first | (word & kWoken) : kWoken), std::memory_order_release);
    return handed;
  }

  /// For tests.
  [[nodiscard]] Atomic<std::uint64_t>& raw() noexcept { return word_; }

 private:
  static constexpr std::uint64_t kWaiting = 1;
  static constexpr std::uint64_t kWoken = 2;
  static constexpr std::uint64_t kStarving = 4;
  static constexpr std::uint64_t kFlags = 7;
  static constexpr std::uint64_t owner(std::uint64_t word) noexcept { return word >> kOwnerShift; }

  Atomic<std::uint64_t> word_{0};
};

}  // namespace fiberd::sync
