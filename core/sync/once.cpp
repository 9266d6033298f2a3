#include "core/sync/once.hpp"

#include "core/context/waits.hpp"

namespace fiberd::sync {

std::error_code Once::wait(const context::Context& ctx) noexcept {
  Waiter self;
  {
    const LockGuard guard(lock_);
    if (done()) return {};
    self.ticket = runtime::prepare_park(runtime::WaitReason::mutex);
    waiters_.push_back(self);
  }
  const std::error_code error = context::park_until(self.ticket, ctx);
  if (error) {
    const LockGuard guard(lock_);
    if (self.linked()) List<Waiter>::remove(self);
  }
  return error;
}

void Once::finish() noexcept {
  const LockGuard guard(lock_);
  state_.store(State::done, std::memory_order_release);
  while (Waiter* const waiter = waiters_.pop_front()) {
    // The ticket is read first: a waiter that is woken leaves, and its node with it.
    const runtime::Ticket ticket = waiter->ticket;
    runtime::wake(ticket);
  }
}

}  // namespace fiberd::sync
