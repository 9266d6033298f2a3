#pragma once
// Waits that obey a Context. Each looks at the context first: one that is done already costs no wait and no system
// call. Errors: context::errc::canceled or deadline_exceeded when the context ended the wait; std::errc::timed_out when
// a deadline of the wait's own did, being earlier than the context's.
#include <chrono>
#include <concepts>
#include <system_error>
#include <utility>

#include "core/context/context.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/use_fiber.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::context {

/// What a wait that obeyed `ctx` and the deadline `own` ended with. Of the two deadlines the earlier one counts, and
/// the context's when they are equal.
[[nodiscard]] std::error_code to_error(runtime::Wake how, const Context& ctx,
                                       Deadline own = Deadline::never()) noexcept;

/// What every call that takes a Context asks before anything else: ctx.err(), for a call that waits. The clock is read
/// only when the deadline is near. Any thread; never parks.
[[nodiscard]] Result<void> check(const Context& ctx) noexcept;

/// The same for a call that obeyed both but tells what happened as an error of std::errc: timed_out and
/// operation_canceled become the context's errors where it was the context that ended the call; others stay.
[[nodiscard]] std::error_code to_error(std::error_code error, const Context& ctx,
                                       Deadline own = Deadline::never()) noexcept;

/// runtime::park_until under `ctx` and a deadline of the wait's own. Success: woken. Only on a fiber.
[[nodiscard]] Result<void> park_until(const Context& ctx, runtime::Ticket ticket,
                                      Deadline own = Deadline::never()) noexcept;

/// Sleeps for `duration`, or until `ctx` is done. Success: slept. Only on a fiber.
[[nodiscard]] Result<void> sleep(const Context& ctx, std::chrono::nanoseconds duration) noexcept;

/// runtime::try_blocking under `ctx`: Result<T>, or the Result that fn returns. `fn` must own all it uses.
template <runtime::ResultFunction F>
auto blocking(const Context& ctx, F&& fn) {
  return runtime::detail::try_blocking(ctx.deadline(), ctx.wait_point(), std::forward<F>(fn),
                                       [&ctx](runtime::Wake how) { return to_error(how, ctx); });
}

/// The completion token runtime::use_fiber under `ctx`, which must outlive the call it is passed to.
[[nodiscard]] runtime::UseFiber use_fiber(const Context& ctx) noexcept;

}  // namespace fiberd::context
