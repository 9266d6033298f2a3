#include "core/flow/gcra_cell.hpp"

#include "core/base/clock.hpp"

namespace fiberd::flow {

double GcraCell::rate() const noexcept {
  const LockGuard guard(lock_);
  return rate_;
}

/// Whoever changes it may be off the processor: the lock sleeps until it is back.
void GcraCell::wait_for_change() const noexcept { const LockGuard guard(lock_); }

/// Under the lock. Who sees one of the new words, or the new number, sees the era odd, too.
void GcraCell::become(const Gcra& next, std::int64_t now_ns) noexcept {
  const std::uint32_t era = era_.load(std::memory_order_relaxed);
  const Gcra present = look().gcra;
  era_.store(era + 1, std::memory_order_relaxed);
  put(next.words());
  // The clock after the number: what others took meanwhile was there by their clocks, and would be owed by an older
  // one, at the new price.
  std::int64_t tat = tat_.load(std::memory_order_acquire);
  std::int64_t at = now_ns;
  do {
    if (now_ns == kNow) at = monotonic_now();
  } while (!tat_.compare_exchange_weak(tat, present.convert(tat, at, next), std::memory_order_acq_rel,
                                       std::memory_order_acquire));
  before_ = present.words();
  changed_at_ = at;
  era_.store(era + 2, std::memory_order_release);
}

bool GcraCell::carry(std::uint32_t era, std::int64_t& tat, const View& view) const noexcept {
  if (era == view.era) return true;
  const LockGuard guard(lock_);
  if (era + 2 != view.era || era_.load(std::memory_order_relaxed) != view.era) return false;
  tat = Gcra(before_).convert(tat, changed_at_, view.gcra);
  return true;
}

}  // namespace fiberd::flow
