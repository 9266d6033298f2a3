#include "core/sync/wait_group.hpp"

#include "core/base/bug.hpp"

namespace fiberd::sync {

std::error_code WaitGroup::done_slow(std::int64_t before) noexcept {
  if (Word::one_too_many(before)) {
    if (word_.undo()) wake_all();
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
    if (word_.end_wait()) queue_.take_all(chain);
  }
  chain.wake();
}

std::error_code WaitGroup::wait_for(const context::Context* ctx) noexcept {
  const std::error_code error = ended_by(ctx);
  Waiter waiter;
  {
    // Even to see zero: the done() that stored it may still hold the lock, and a caller that returned now could destroy
    // the group under it. Not "less than kOne" for the same reason: while kWaited stands, that done() is on its way.
    const LockGuard guard(lock_);
    const Word::Join join = word_.join(!error);
    if (join == Word::Join::zero) return {};
    if (join == Word::Join::unwilling) return error;
    queue_.add(waiter, runtime::WaitReason::wait_group, this);
  }
  return sync::wait(lock_, waiter, ctx);
}

}  // namespace fiberd::sync
