#pragma once
// Ticker: Go's time.Ticker: a tick each period.
//
//   sync::Ticker every_second(1s);
//   while (every_second.wait(ctx)) report();
//
// Ticks stand at multiples of the period from the start (or the last reset), however long their handling takes. What a
// reader is too slow for is dropped: it finds one tick, and the next at its time. How it works: timer_core.hpp.
#include <chrono>
#include <concepts>
#include <system_error>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/sync/timer_core.hpp"

namespace fiberd::sync {

/// All members are thread-safe; wait() only on fibers. Each tick is received once. Must outlive every call on it, and
/// be set only while a runtime runs. One that nobody reads costs nothing. WaitReason::channel_receive.
class Ticker : private detail::TimerCore {
 public:
  /// Stopped: waits for ever until it is reset.
  Ticker() noexcept = default;
  /// The first tick is due `period` from now. A period that is not positive is a BUG, and never ticks.
  explicit Ticker(std::chrono::nanoseconds period) noexcept { reset(period); }

  /// From now on every `period`; a tick that was not received is gone. A period that is not positive is a BUG, and
  /// stops it. Never parks.
  void reset(std::chrono::nanoseconds period) noexcept {
    if (FIBERD_BUG_IF(period.count() <= 0)) return stop();
    set(Deadline::in(period).ns(), period.count());
  }
  /// No tick is received until it is reset; who waits goes on waiting. Never parks.
  void stop() noexcept { set(kNever, 0); }

  /// Waits for a tick.
  void wait() noexcept { (void)wait_for(nullptr); }
  /// Success: a tick. Otherwise context::errc.
  [[nodiscard]] Result<void> wait(const context::Context& ctx) noexcept { return as_result(wait_for(&ctx)); }
  /// Never waits. True: there was a tick.
  [[nodiscard]] bool try_wait() noexcept { return try_take(); }

 private:
  friend struct detail::TickAccess;
};

/// A select's case: `handler()` at a tick. A null pointer: never. The ticker must outlive the select.
template <class F = detail::Nothing>
[[nodiscard]] auto on_tick(Ticker* ticker, F&& handler = {}) {
  return detail::TickCase<F>(detail::TickAccess::core(ticker), std::forward<F>(handler));
}
template <std::invocable F = detail::Nothing>
[[nodiscard]] auto on_tick(Ticker& ticker, F&& handler = {}) {
  return on_tick(&ticker, std::forward<F>(handler));
}

}  // namespace fiberd::sync
