#pragma once
// RetireTime: when a connection is too old to be kept, in 4 bytes: monotonic time in units of 17 ms, modulo 2^32 of
// them, which is two years. What is before it and what is behind it is told by the sign of a difference.
//
// The clock that is asked later may be behind the one that was asked first, and by any time (runtime::coarse_now() is a
// Processor's own, and one that has been taken from its fiber stands still). So three days of the half that is before
// are left free: a now that is earlier than the beginning is before the end, too.
#include <algorithm>
#include <chrono>
#include <cstdint>

#include "core/base/clock.hpp"

namespace fiberd::http {

class RetireTime {
 public:
  /// As late as there is: more than a year from `now` (monotonic ns).
  [[nodiscard]] static RetireTime late(std::int64_t now) noexcept { return RetireTime(units(now) + kMost); }
  /// When `age` is over, or as late as there is. Never early.
  [[nodiscard]] static RetireTime after(std::int64_t now, std::chrono::nanoseconds age) noexcept {
    const std::int64_t whole = (time_after(now, age) >> kShift) - (now >> kShift) + 1;
    return RetireTime(units(now) + static_cast<std::uint32_t>(std::min<std::int64_t>(whole, kMost)));
  }
  [[nodiscard]] bool passed(std::int64_t now) const noexcept {
    return static_cast<std::int32_t>(units(now) - at_) >= 0;
  }
  /// So many ns from now; not positive: it has passed.
  [[nodiscard]] std::int64_t left(std::int64_t now) const noexcept {
    return std::int64_t{static_cast<std::int32_t>(at_ - units(now))} * (std::int64_t{1} << kShift);
  }

 private:
  static constexpr unsigned kShift = 24;
  static constexpr std::uint32_t kMost = INT32_MAX - (std::uint32_t{1} << 24U);
  [[nodiscard]] static std::uint32_t units(std::int64_t ns) noexcept {
    return static_cast<std::uint32_t>(ns >> kShift);
  }
  explicit RetireTime(std::uint32_t at) noexcept : at_(at) {}
  std::uint32_t at_;
};

}  // namespace fiberd::http
