#pragma once
// WaitGroupWord: the counter of a WaitGroup (upper 63 bits) and whether anybody waits (bit 0), and every way they
// change. The queue, its lock and the parking are WaitGroup's.
//
// Atomic is std::atomic; tests/model instantiates the template with its own to visit every interleaving.
#include <atomic>
#include <cstdint>

namespace fiberd::sync {

template <template <class> class Atomic = std::atomic>
class BasicWaitGroupWord {
 public:
  enum class Join : std::uint8_t { zero, unwilling, waits };

  void add(std::uint32_t n) noexcept { word_.fetch_add(std::uint64_t{n} * kOne, std::memory_order_relaxed); }
  [[nodiscard]] std::uint64_t count() const noexcept { return word_.load(std::memory_order_acquire) / kOne; }

  /// What was there before; signed: two at once below zero are both found out.
  [[nodiscard]] std::int64_t take_one() noexcept {
    return static_cast<std::int64_t>(word_.fetch_sub(kOne, std::memory_order_acq_rel));
  }
  // `before` is take_one()'s. Neither of the first two: somebody waits for this zero.
  [[nodiscard]] static constexpr bool more_left(std::int64_t before) noexcept { return before >= 2 * kOne; }
  [[nodiscard]] static constexpr bool unwaited_zero(std::int64_t before) noexcept { return before == kOne; }
  [[nodiscard]] static constexpr bool one_too_many(std::int64_t before) noexcept { return before < kOne; }
  /// After one too many. True: who looked meanwhile took the counter for a large one and waits; zero is there again,
  /// and nobody else comes.
  [[nodiscard]] bool undo() noexcept { return word_.fetch_add(kOne, std::memory_order_acq_rel) + kOne == kWaited; }

  /// Under the lock. True: zero, and those in the queue wait for it; count() and join() see it from now on.
  [[nodiscard]] bool end_wait() noexcept {
    // Not a load and a store: one that gave up may add() in between.
    std::uint64_t zero = kWaited;
    return word_.compare_exchange_strong(zero, 0, std::memory_order_release, std::memory_order_relaxed);
  }
  /// Under the lock. waits: the caller must hang itself in the queue. Not "zero" while end_wait() is on its way. Unless
  /// it is zero, one that is not `willing` changes nothing.
  [[nodiscard]] Join join(bool willing) noexcept {
    std::uint64_t word = word_.load(std::memory_order_acquire);
    do {
      if (word == 0) return Join::zero;
      if (!willing) return Join::unwilling;
    } while (!word_.compare_exchange_weak(word, word | kWaited, std::memory_order_acquire, std::memory_order_acquire));
    return Join::waits;
  }

  /// For tests.
  [[nodiscard]] Atomic<std::uint64_t>& raw() noexcept { return word_; }

 private:
  static constexpr std::uint64_t kWaited = 1;
  static constexpr std::int64_t kOne = 2;

  Atomic<std::uint64_t> word_{0};
};

}  // namespace fiberd::sync
