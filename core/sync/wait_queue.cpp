#include "core/sync/wait_queue.hpp"

#include "core/base/bug.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/block_profile.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::sync {

void report_early_death(const char* what) noexcept {
  if (runtime::Scheduler::instance() != nullptr) report_bug(what);
}

void WakeChain::wake() noexcept {
  for (ListHook* hook = first_; hook != nullptr;) {
    auto& waiter = static_cast<Waiter&>(*hook);
    hook = waiter.next;
    const runtime::Ticket ticket = waiter.ticket;
    waiter.released.store(true, std::memory_order_release);  // the last touch
    runtime::wake(ticket);
  }
  first_ = last_ = nullptr;
}

template <class L>
std::error_code wait(L& lock, Waiter& waiter, const context::Context* ctx) noexcept {
  if (ctx == nullptr) {
    const runtime::BlockTimer blocked;
    runtime::park(waiter.ticket);
    return {};
  }
  const std::error_code error = error_of(context::park_until(*ctx, waiter.ticket));
  if (!error) return {};
  {
    const BasicLockGuard<L> guard(lock);
    if (waiter.linked()) {
      List<Waiter>::remove(waiter);
      return error;
    }
    if (!waiter.chained) return {};
  }
  while (!waiter.released.load(std::memory_order_acquire)) runtime::yield();
  return {};
}

template std::error_code wait(Lock& lock, Waiter& waiter, const context::Context* ctx) noexcept;
template std::error_code wait(LeafLock& lock, Waiter& waiter, const context::Context* ctx) noexcept;

}  // namespace fiberd::sync
