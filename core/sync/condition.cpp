#include "core/sync/condition.hpp"

#include "core/runtime/fiber_list.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::sync {

[[maybe_unused]] static const bool condition_described = [] {
  runtime::set_wait_description(runtime::WaitReason::condition, [](const void* /*object*/, std::string& text) {
    text = "a condition that nobody has notified";
  });
  runtime::set_wait_edges(runtime::WaitReason::condition, [](const void* object, runtime::WaitEdges& edges) {
    edges.objects.push_back({.at = runtime::HiddenAddress(object), .size = sizeof(Condition)});
  });
  return true;
}();

std::error_code Condition::wait_on(Mutex& mutex, const context::Context* ctx) noexcept {
  if (const std::error_code error = ended_by(ctx)) return error;
  Waiter waiter;
  {
    const LockGuard guard(lock_);
    queue_.add(waiter, runtime::WaitReason::condition, this);
  }
  // From here on a notification is not lost, though this fiber has not left yet. Unlocking never parks.
  if (!mutex.unlock()) {
    // Not the holder, which is a BUG already: the wait must still be taken back, and a chain that has it have passed.
    {
      const LockGuard guard(lock_);
      if (waiter.linked()) WaitQueue::remove(waiter);
    }
    (void)runtime::abandon_park(waiter.ticket);
    // At least once: a caller that waits in a loop must let those run who would make its predicate true.
    do runtime::yield();
    while (waiter.chained && !waiter.released.load(std::memory_order_acquire));
    return errc::not_owner;
  }
  const std::error_code error = sync::wait(lock_, waiter, ctx);
  mutex.lock();
  return error;
}

void Condition::notify_one() noexcept {
  runtime::Ticket ticket;
  {
    const LockGuard guard(lock_);
    const Waiter* const first = queue_.pop();
    if (first == nullptr) return;
    ticket = first->ticket;
  }
  runtime::wake(ticket);
}

void Condition::notify_all() noexcept {
  WakeChain chain;
  {
    const LockGuard guard(lock_);
    queue_.take_all(chain);
  }
  chain.wake();
}

}  // namespace fiberd::sync
