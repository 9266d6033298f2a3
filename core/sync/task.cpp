#include "core/sync/task.hpp"

#include "core/runtime/fiber_list.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::sync::detail {

[[maybe_unused]] static const bool task_described = [] {
  runtime::set_wait_description(runtime::WaitReason::join, [](const void* /*object*/, std::string& text) {
    text = "a fiber's function that has not returned";
  });
  runtime::set_wait_edges(runtime::WaitReason::join, [](const void* object, runtime::WaitEdges& edges) {
    edges.objects.push_back({.at = runtime::HiddenAddress(object), .size = sizeof(TaskCore), .task = true});
  });
  return true;
}();

std::error_code TaskCore::wait(const context::Context* ctx) noexcept {
  if (const std::error_code error = ended_by(ctx)) return error;
  if (done()) return {};
  if (!runtime::on_fiber()) {
    const bool cancelable = ctx != nullptr && ctx->cancellation() != nullptr;
    if (FIBERD_BUG_IF(runtime::in_scheduler()) || FIBERD_BUG_IF(cancelable))
      return std::make_error_code(std::errc::operation_not_permitted);
    done_.wait(0, std::memory_order_acquire);
    return {};
  }
  Waiter me;
  {
    const LockGuard guard(lock_);
    if (done()) return {};
    waiters_.add(me, runtime::WaitReason::join, this);
  }
  return sync::wait(lock_, me, ctx);
}

void TaskCore::finish() noexcept {
  WakeChain joiners;
  {
    const LockGuard guard(lock_);
    done_.store(1, std::memory_order_release);
    waiters_.take_all(joiners);
  }
  joiners.wake();
  done_.notify_all();
}

}  // namespace fiberd::sync::detail
