#include "core/sync/wait_group.hpp"

#include "core/base/bug.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::sync {

[[maybe_unused]] static const bool wait_group_described = [] {
  runtime::set_wait_description(runtime::WaitReason::wait_group, [](const void* object, std::string& text) {
    const std::uint64_t left = static_cast<const WaitGroup*>(object)->count();
    text = std::to_string(left) + (left == 1 ? " part of the work is" : " parts of the work are") + " not done";
  });
  runtime::set_wait_edges(runtime::WaitReason::wait_group, [](const void* object, runtime::WaitEdges& edges) {
    edges.objects.push_back({.at = runtime::HiddenAddress(object), .size = sizeof(WaitGroup)});
  });
  return true;
}();

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
