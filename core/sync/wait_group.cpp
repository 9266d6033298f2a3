#include "core/sync/wait_group.hpp"

#include "core/base/bug.hpp"

namespace fiberd::sync {

std::error_code WaitGroup::done_slow(std::int64_t before) noexcept {
  if (before < kOne) {
    // Who looked meanwhile took the counter for a large one and waits; zero is there again, and nobody else comes.
    if (word_.fetch_add(kOne, std::memory_order_acq_rel) + kOne == kWaited) wake_all();
    report_bug("a wait group's counter would be negative");
    return errc::negative_wait_group;
  }
  wake_all();
  return {};
}

void WaitGroup::wake_all() noexcept {
  WakeChain chain;
  {
    const LockGuard guard(lock_);
    // Only those who wait for this zero: the group may be in use again.
    if (word_.load(std::memory_order_relaxed) == kWaited) {
      word_.store(0, std::memory_order_release);  // also for those who look at count() only
      queue_.take_all(chain);
    }
  }
  chain.wake();
}

std::error_code WaitGroup::wait_for(const context::Context* ctx) noexcept {
  const std::error_code error = error_of(ctx);
  Waiter waiter;
  {
    // Even to see zero: the done() that stored it may still hold the lock, and a caller that returned now could destroy
    // the group under it. Not "less than kOne" for the same reason: while kWaited stands, that done() is on its way.
    const LockGuard guard(lock_);
    std::uint64_t word = word_.load(std::memory_order_acquire);
    do {
      if (word == 0) return {};
      if (error) return error;
    } while (!word_.compare_exchange_weak(word, word | kWaited, std::memory_order_acquire, std::memory_order_acquire));
    queue_.add(waiter, runtime::WaitReason::wait_group);
  }
  return sync::wait(lock_, waiter, ctx);
}

}  // namespace fiberd::sync
