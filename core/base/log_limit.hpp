#pragma once
// LogLimit: at most one line a period of a kind that others can cause, with a count of what was left out.
#include <atomic>
#include <cstdint>
#include <optional>

namespace fiberd {

/// Thread-safe; never parks.
class LogLimit {
 public:
  /// `period` in ns, ≥ 0.
  explicit LogLimit(std::int64_t period = 1'000'000'000) noexcept : period_(period) {}

  /// When a line may be written at `now` (monotonic ns): how many were left out since the last one.
  [[nodiscard]] std::optional<std::uint64_t> pass(std::int64_t now) noexcept {
    std::int64_t next = next_.load(std::memory_order_relaxed);
    if (now >= next && next_.compare_exchange_strong(next, now + period_, std::memory_order_relaxed))
      return left_out_.exchange(0, std::memory_order_relaxed);
    left_out_.fetch_add(1, std::memory_order_relaxed);
    return std::nullopt;
  }

 private:
  const std::int64_t period_;
  std::atomic<std::int64_t> next_{INT64_MIN};
  std::atomic<std::uint64_t> left_out_{0};
};

}  // namespace fiberd
