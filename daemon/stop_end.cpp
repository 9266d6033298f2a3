#include "daemon/stop_end.hpp"

#include <algorithm>

#include "core/base/clock.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::daemon {

/// By the watchdog, beside whatever the stop has come to.
std::string StopEnd::what_is_left() const {
  const runtime::Scheduler* const left = scheduler.load(std::memory_order_acquire);
  if (left == nullptr) return "no fiber is left, but something else";
  const std::uint64_t fibers = left->live_fibers();
  return fibers == 1 ? "1 fiber is left" : std::to_string(fibers) + " fibers are left";
}

void StopEnd::use(const config::Config& config) noexcept {
  static constexpr std::chrono::milliseconds kMost{500};
  const auto share = std::chrono::duration_cast<std::chrono::milliseconds>(config.shutdown.timeout / 4);
  patience_.store(std::clamp(share, std::chrono::milliseconds(50), kMost).count(), std::memory_order_relaxed);
}

std::int64_t StopEnd::log_deadline(std::chrono::milliseconds before_end) const noexcept {
  // Signals are not heard any more: a long shutdown.timeout is no reason to wait for a slow reader as long.
  const std::int64_t most = monotonic_now() + 10 * std::chrono::nanoseconds(patience()).count();
  const std::int64_t end = watchdog.end();
  return end == INT64_MAX ? most : std::min(most, end - std::chrono::nanoseconds(before_end).count());
}

}  // namespace fiberd::daemon
