#include "core/sync/timer_core.hpp"

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::sync::detail {

bool TimerCore::set(std::int64_t due, std::int64_t period) noexcept {
  bool was = false;
  {
    const LeafLockGuard guard(lock_);
    was = due_.exchange(due, std::memory_order_relaxed) != kNever;
    period_ = period;
  }
  settle();
  return was;
}

/// Under the lock: whether there is a tick; if so, it is the caller's.
bool TimerCore::take(std::int64_t now) noexcept {
  const std::int64_t due = due_.load(std::memory_order_relaxed);
  if (due > now) return false;
  std::int64_t next = kNever;
  // The first multiple that has not come: at most a period from now.
  if (period_ != 0 && period_ < kNever - now) next = now + period_ - (now - due) % period_;
  due_.store(next, std::memory_order_relaxed);
  return true;
}

bool TimerCore::receive_op(ChannelCore& core, void* /*slot*/) noexcept {
  auto& self = static_cast<TimerCore&>(core);
  if (!self.set_now() || !self.take(monotonic_now())) return false;
  const bool again = self.set_now();
  self.lock_.unlock();
  if (again) self.settle();
  return true;
}

bool TimerCore::send_op(ChannelCore& /*core*/, void* /*slot*/) noexcept { return false; }

void TimerCore::on_time(SettledTimer& timer) noexcept {
  auto& self = static_cast<TimerCore&>(timer);
  self.lock_.lock();
  const std::int64_t now = monotonic_now();
  ChannelWaiter* const waiter = self.due_.load(std::memory_order_relaxed) <= now ? claim(self.receivers_) : nullptr;
  if (waiter == nullptr) {
    self.lock_.unlock();
    return;
  }
  (void)self.take(now);
  const bool again = self.set_now();
  self.complete_and_unlock(*waiter);
  // Whoever destroys it now waits until this function has returned.
  if (again) self.settle();
}

bool TimerCore::try_take() noexcept {
  lock_.lock();
  if (receive_op(*this, nullptr)) return true;
  lock_.unlock();
  return false;
}

std::error_code TimerCore::wait_for(const context::Context* ctx) noexcept {
  if (const std::error_code error = ended_by(ctx)) return error;
  lock_.lock();
  if (receive_op(*this, nullptr)) {
    runtime::spend_little();
    return {};
  }
  return wait_to_receive(nullptr, ctx);
}

}  // namespace fiberd::sync::detail
