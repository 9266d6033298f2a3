#include "core/sync/once.hpp"

#include "core/runtime/fiber_list.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::sync {

[[maybe_unused]] static const bool once_described = [] {
  runtime::set_wait_description(runtime::WaitReason::once, [](const void* /*object*/, std::string& text) {
    text = "a function that is called once and has not returned";
  });
  runtime::set_wait_edges(runtime::WaitReason::once, [](const void* object, runtime::WaitEdges& edges) {
    edges.objects.push_back({.at = runtime::HiddenAddress(object), .size = sizeof(Once)});
  });
  return true;
}();

std::error_code Once::wait(const context::Context& ctx) noexcept {
  Waiter me;
  bool over = false;
  {
    const LockGuard guard(lock_);
    over = over_;
    if (!over) waiters_.add(me, runtime::WaitReason::once, this);
  }
  if (!over) return sync::wait(lock_, me, &ctx);
  while (!done()) runtime::yield();  // for a few instructions of another thread
  return {};
}

void Once::finish() noexcept {
  WakeChain waiters;
  {
    const LockGuard guard(lock_);
    over_ = true;
    waiters_.take_all(waiters);
  }
  // The last touch: whoever sees it, or is woken, may destroy this.
  state_.store(State::done, std::memory_order_release);
  waiters.wake();
}

}  // namespace fiberd::sync
