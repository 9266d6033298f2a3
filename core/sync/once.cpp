#include "core/sync/once.hpp"

#include "core/runtime/wait.hpp"

namespace fiberd::sync {

std::error_code Once::wait(const context::Context& ctx) noexcept {
  Waiter me;
  {
    const LockGuard guard(lock_);
    if (done()) return {};
    waiters_.add(me, runtime::WaitReason::mutex);
  }
  return sync::wait(lock_, me, &ctx);
}

void Once::finish() noexcept {
  WakeChain waiters;
  {
    const LockGuard guard(lock_);
    state_.store(State::done, std::memory_order_release);
    waiters_.take_all(waiters);
  }
  waiters.wake();  // who is woken may destroy this
}

}  // namespace fiberd::sync
