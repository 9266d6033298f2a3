#pragma once
// Rates, as TokenBucket and its kind take them: tokens a second, a double.
#include <chrono>
#include <limits>

namespace fiberd::flow {

/// Everything is admitted, as Go's rate.Inf.
inline constexpr double kUnlimited = std::numeric_limits<double>::infinity();

/// The rate of one token each `interval`, as Go's rate.Every: every(100ms) is 10 a second. Not positive: kUnlimited.
[[nodiscard]] constexpr double every(std::chrono::nanoseconds interval) noexcept {
  return interval.count() > 0 ? 1e9 / static_cast<double>(interval.count()) : kUnlimited;
}

}  // namespace fiberd::flow
