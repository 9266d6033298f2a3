#include "core/context/waits.hpp"

#include "core/context/node.hpp"
#include "core/runtime/block_profile.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::context {

std::error_code to_error(runtime::Wake how, const Context& ctx, Deadline own) noexcept {
  switch (how) {
    case runtime::Wake::canceled: {
      const std::error_code error = ctx.err();
      return error ? error : make_error_code(errc::canceled);
    }
    case runtime::Wake::timeout:
      if (!ctx.deadline().is_never() && ctx.deadline().ns() <= own.ns()) {
        // The wait's timer was first; the context must not look alive to who has just been told that its time is up.
        detail::expire(ctx);
        return ctx.err();
      }
      return std::make_error_code(std::errc::timed_out);
    case runtime::Wake::none:
    case runtime::Wake::ready: break;
  }
  return {};
}

Result<void> check(const Context& ctx) noexcept {
  // A busy fiber's clock may be late by some 100 us; only near the deadline is the real one asked.
  static constexpr std::int64_t kNear = 10'000'000;
  detail::Node* const node = detail::Access::node(ctx);
  if (node == nullptr) return {};
  if (node->reason() == detail::Reason::none &&
      (node->deadline().is_never() || node->deadline().ns() > runtime::coarse_now() + kNear)) [[likely]]
    return {};
  return as_result(node->err());
}

std::error_code to_error(std::error_code error, const Context& ctx, Deadline own) noexcept {
  // The kernel's ETIMEDOUT and ECANCELED are of another category: no wait of ours.
  if (error.category() != std::generic_category()) return error;
  std::error_code of_context;
  if (error.value() == static_cast<int>(std::errc::operation_canceled)) {
    of_context = ctx.err();
  } else if (error.value() == static_cast<int>(std::errc::timed_out)) {
    // That its time has come is asked too: a name server that does not answer says timed_out as well.
    const std::int64_t deadline = ctx.deadline().ns();
    if (deadline <= own.ns() && deadline <= monotonic_now()) of_context = ctx.err();
  }
  return of_context ? of_context : error;
}

Result<void> park_until(const Context& ctx, runtime::Ticket ticket, Deadline own) noexcept {
  const runtime::BlockTimer blocked;
  // The context's deadline becomes the wait's: one store, and the context needs no timer.
  return as_result(to_error(runtime::park_until(ticket, own.earlier(ctx.deadline()), ctx.wait_point()), ctx, own));
}

Result<void> sleep(const Context& ctx, std::chrono::nanoseconds duration) noexcept {
  if (const Result<void> alive = check(ctx); !alive) return alive;
  if (duration.count() <= 0) {
    runtime::yield();
    return {};
  }
  const Deadline end = Deadline::in(duration);
  const runtime::Wake how = runtime::park_until(runtime::prepare_park(runtime::WaitReason::sleep),
                                                end.earlier(ctx.deadline()), ctx.wait_point());
  if (how == runtime::Wake::timeout && end.ns() < ctx.deadline().ns()) return {};
  return as_result(to_error(how, ctx, end));
}

runtime::UseFiber use_fiber(const Context& ctx) noexcept {
  return runtime::UseFiber{ctx.deadline(), ctx.wait_point(),
                           [](const void* argument, runtime::Wake how) noexcept {
                             return to_error(how, *static_cast<const Context*>(argument));
                           },
                           &ctx};
}

}  // namespace fiberd::context
