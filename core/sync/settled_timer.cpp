#include "core/sync/settled_timer.hpp"

#include "core/base/bug.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::sync::detail {

void SettledTimer::settle() noexcept {
  if (runtime::Scheduler::instance() == nullptr) {
    if (due_.load(std::memory_order_relaxed) != kNever) report_bug("a timer is set, and there is no runtime");
    return;
  }
  follower_.follow([this] { arm(Deadline::at(due_.load(std::memory_order_relaxed))); });
}

void SettledTimer::retire() noexcept {
  due_.store(kNever, std::memory_order_relaxed);
  cancel();
}

}  // namespace fiberd::sync::detail
