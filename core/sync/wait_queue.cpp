#include "core/sync/wait_queue.hpp"

#include "core/context/waits.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::sync {

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

std::error_code wait(Lock& lock, Waiter& waiter, const context::Context* ctx) noexcept {
  if (ctx == nullptr) {
    (void)runtime::park_until(waiter.ticket);
    return {};
  }
  const std::error_code error = context::park_until(waiter.ticket, *ctx);
  if (!error) return {};
  {
    const LockGuard guard(lock);
    if (waiter.linked()) {
      List<Waiter>::remove(waiter);
      return error;
    }
    if (!waiter.chained) return {};
  }
  while (!waiter.released.load(std::memory_order_acquire)) runtime::yield();
  return {};
}

}  // namespace fiberd::sync
