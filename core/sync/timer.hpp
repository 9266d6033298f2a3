#pragma once
// Timer: Go's time.Timer: one moment to come that can be waited for, put off and called off.
//
//   sync::Timer idle(30s);
//   for (;;) {
//     sync::select(sync::on_receive(lines, [&](Result<Line> line) { idle.reset(30s); … }),
//                  sync::on_tick(idle, [&] { … nothing came for so long … }));
//   }
//
// For a wait that is made once there is sync::after(), and each wait with a context has that one's deadline; a Timer is
// for times that move. After stop() and reset() nothing of before is received any more, as in Go since 1.23. How it
// works: timer_core.hpp.
#include <chrono>
#include <concepts>
#include <system_error>

#include "core/base/clock.hpp"
#include "core/sync/timer_core.hpp"

namespace fiberd::sync {

/// All members are thread-safe; wait() only on fibers. When the time has come one of those who wait goes on, or the
/// first who comes; then the timer is stopped until it is reset. Must outlive every call on it, and be set only while a
/// runtime runs. Never allocates but for its place among the scheduler's timers. WaitReason::channel_receive.
class Timer : private detail::TimerCore {
 public:
  /// Stopped: waits for ever until it is reset.
  Timer() noexcept = default;
  /// Due `duration` from now; not positive: at once.
  explicit Timer(std::chrono::nanoseconds duration) noexcept { reset(duration); }
  explicit Timer(Deadline deadline) noexcept { reset(deadline); }

  /// Due `duration` from now, whatever was before; who waits already waits for the new time. True: it was running, or
  /// its time had come and nobody had received that. Never parks.
  bool reset(std::chrono::nanoseconds duration) noexcept { return reset(Deadline::in(duration)); }
  /// Deadline::never() stops it.
  bool reset(Deadline deadline) noexcept { return set(deadline.ns(), 0); }
  /// Nothing is received until it is reset; who waits goes on waiting. The answer is as reset()'s. Never parks.
  bool stop() noexcept { return set(kNever, 0); }

  /// Waits until it is due.
  void wait() noexcept { (void)wait_for(nullptr); }
  /// Success: it was due. Otherwise context::errc.
  [[nodiscard]] Result<void> wait(const context::Context& ctx) noexcept { return as_result(wait_for(&ctx)); }
  /// Never waits. True: it was due.
  [[nodiscard]] bool try_wait() noexcept { return try_take(); }
  /// A snapshot: neither stopped nor received.
  [[nodiscard]] bool running() const noexcept { return set_now(); }

 private:
  friend struct detail::TickAccess;
};

/// A select's case: `handler()` when the timer is due. A null pointer: never. The timer must outlive the select.
template <class F = detail::Nothing>
[[nodiscard]] auto on_tick(Timer* timer, F&& handler = {}) {
  return detail::TickCase<F>(detail::TickAccess::core(timer), std::forward<F>(handler));
}
template <std::invocable F = detail::Nothing>
[[nodiscard]] auto on_tick(Timer& timer, F&& handler = {}) {
  return on_tick(&timer, std::forward<F>(handler));
}

}  // namespace fiberd::sync
