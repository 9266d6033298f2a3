#include "core/sync/settled_timer.hpp"

#include "core/base/bug.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::sync::detail {

void SettledTimer::settle() noexcept {
  if (runtime::Scheduler::instance() == nullptr) {
    if (due_.load(std::memory_order_relaxed) != kNever) report_bug("a timer is set, and there is no runtime");
    return;
  }
  if (changes_.fetch_add(1, std::memory_order_acq_rel) != 0) return;
  std::uint32_t seen = 1;
  do {
    arm(Deadline::at(due_.load(std::memory_order_relaxed)));
  } while (!changes_.compare_exchange_strong(seen, 0, std::memory_order_acq_rel, std::memory_order_acquire));
}

void SettledTimer::retire() noexcept {
  due_.store(kNever, std::memory_order_relaxed);
  cancel();
}

}  // namespace fiberd::sync::detail
