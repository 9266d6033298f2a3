#include "core/sync/wait_group.hpp"

#include "core/base/bug.hpp"

namespace fiberd::sync {

std::error_code WaitGroup::done_slow(std::uint64_t before) noexcept {
  if (before < kOne) {
    word_.fetch_add(kOne, std::memory_order_relaxed);
    report_bug("a wait group's counter would be negative");
    return errc::negative_wait_group;
  }
  WakeChain chain;
  {
    const LockGuard guard(lock_);
    // Only those who wait for this zero: the group may be in use again.
    if (word_.load(std::memory_order_relaxed) == (kWaited | kEverWaited)) {
      word_.store(kEverWaited, std::memory_order_release);
      queue_.take_all(chain);
    }
  }
  chain.wake();
  return {};
}

std::error_code WaitGroup::wait_for(const context::Context* ctx) noexcept {
  std::uint64_t word = word_.load(std::memory_order_acquire);
  if (word == 0) return {};
  if (over(word)) {
    const LockGuard last_done_has_left(lock_);
    return {};
  }
  if (const std::error_code error = error_of(ctx)) return error;
  Waiter waiter;
  {
    const LockGuard guard(lock_);
    word = word_.load(std::memory_order_acquire);
    do {
      if (over(word)) return {};
    } while (!word_.compare_exchange_weak(word, word | kWaited | kEverWaited, std::memory_order_acquire,
                                          std::memory_order_acquire));
    queue_.add(waiter, runtime::WaitReason::wait_group);
  }
  return sync::wait(lock_, waiter, ctx);
}

}  // namespace fiberd::sync
