#pragma once
// GcraCell: the state of one bucket whose rate and burst may change while it is used: the arithmetic (gcra.hpp) and its
// one number.
//
// The unit of that number follows the rate, so both must be changed as one; and the number alone must stay what decides
// who has a token, for one compare-and-swap a call is what a bucket costs. So the arithmetic stands in three words that
// are read as under a sequence lock: the era is read before and after them and the number, and is odd while they are
// changed. What was read is of one era, and so is every decision.
//
// A swap may still come after a change that began behind its second look. It succeeds only if the number is the same
// there as it was: for numbers that are moments that means the same unit, and the same price up to a factor of two. It
// counts as a call of just before the change, one for each thread that was in between.
//
// Rejected: the era in the number's low bits (a year of burst no longer fits beside a year of uptime); a snapshot
// behind a pointer (a counter written at each call costs as much as the rest); a lock (who holds it may be off the
// processor).
#include <array>
#include <atomic>
#include <cstdint>

#include "core/base/lock.hpp"
#include "core/flow/gcra.hpp"

namespace fiberd::flow {

/// All members are thread-safe and never park. A look that meets a change waits for it: some dozens of instructions.
class GcraCell {
 public:
  struct View {
    Gcra gcra;
    std::int64_t tat;
    std::uint32_t era;  ///< which change was the last
  };

  GcraCell(double rate, std::int64_t burst) noexcept : rate_(rate), burst_(burst) { put(Gcra(rate, burst).words()); }
  GcraCell(const GcraCell&) = delete;
  GcraCell& operator=(const GcraCell&) = delete;

  [[nodiscard]] View look() const noexcept {
    for (;;) {
      const std::uint32_t era = era_.load(std::memory_order_acquire);
      Gcra::Words words;
      for (std::size_t i = 0; i < words.size(); ++i) words[i] = words_[i].load(std::memory_order_acquire);
      const std::int64_t tat = tat_.load(std::memory_order_acquire);
      if ((era & 1U) == 0 && era_.load(std::memory_order_relaxed) == era) [[likely]]
        return View{Gcra(words), tat, era};
      wait_for_change();
    }
  }
  /// True: the number was still view.tat, and is `tat` now. Relaxed: it guards nothing but itself.
  [[nodiscard]] bool swap(const View& view, std::int64_t tat) noexcept {
    std::int64_t expected = view.tat;
    return tat_.compare_exchange_weak(expected, tat, std::memory_order_relaxed);
  }

  /// As asked for, not as cut.
  [[nodiscard]] double rate() const noexcept;
  static constexpr std::int64_t kNow = INT64_MIN;  ///< for change(): when its turn has come
  /// From `now_ns` on; what was taken at a later time is owed then. What change(rate, burst) makes of the two is what
  /// they are.
  template <class F>
  void change(std::int64_t now_ns, F change) noexcept {
    const LockGuard guard(lock_);
    change(rate_, burst_);
    become(Gcra(rate_, burst_), now_ns);
  }
  /// What `tat` of `era` is in `view`. False: more than one change lies between, which nobody remembers.
  [[nodiscard]] bool carry(std::uint32_t era, std::int64_t& tat, const View& view) const noexcept;

 private:
  void put(const Gcra::Words& words) noexcept {
    for (std::size_t i = 0; i < words.size(); ++i) words_[i].store(words[i], std::memory_order_release);
  }
  void wait_for_change() const noexcept;
  void become(const Gcra& next, std::int64_t now_ns) noexcept FIBERD_REQUIRES(lock_);

  std::atomic<std::int64_t> tat_{0};
  std::atomic<std::uint32_t> era_{0};
  std::array<std::atomic<std::uint64_t>, 3> words_{};
  // Of changes alone.
  mutable Lock lock_;
  double rate_ FIBERD_GUARDED_BY(lock_);
  std::int64_t burst_ FIBERD_GUARDED_BY(lock_);
  Gcra::Words before_ FIBERD_GUARDED_BY(lock_){};  // the era before this one
  std::int64_t changed_at_ FIBERD_GUARDED_BY(lock_) = 0;
};

}  // namespace fiberd::flow
