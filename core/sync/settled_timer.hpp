#pragma once
// SettledTimer: a runtime::Timer that several fibers set at once.
//
// The time is written down (due_) by whoever changes it, in whatever order its owner sees to; then settle() brings the
// timer after it. Arming by each for itself would let one that was held up arm an old time over a newer one, and a lock
// around both cannot be held by a receiver, which comes here from inside a select with other channels' locks. So one at
// a time arms, for all who come meanwhile (follower.hpp).
#include <atomic>
#include <cstdint>

#include "core/base/clock.hpp"
#include "core/runtime/timer.hpp"
#include "core/sync/follower.hpp"

namespace fiberd::sync::detail {

class SettledTimer : private runtime::Timer {
 protected:
  /// Called inside the scheduler at some time at or after what was set, or was set before: it looks at due_.
  using Fire = void (*)(SettledTimer& timer) noexcept;
  static constexpr std::int64_t kNever = Deadline::never().ns();

  explicit SettledTimer(Fire fire) noexcept : runtime::Timer(&SettledTimer::on_time), fire_(fire) {}
  ~SettledTimer() = default;

  /// After a change of due_. Any thread; a runtime must run (without one it is a BUG). Never parks.
  void settle() noexcept;
  /// Before what fire() uses dies; nobody else sets it any more. Afterwards fire() is not running and will not.
  void retire() noexcept;

  std::atomic<std::int64_t> due_{kNever};  ///< monotonic ns

 private:
  static void on_time(runtime::Timer& timer) noexcept {
    auto& self = static_cast<SettledTimer&>(timer);
    self.fire_(self);
  }
  const Fire fire_;
  Follower follower_;
};

}  // namespace fiberd::sync::detail
