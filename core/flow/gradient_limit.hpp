#pragma once
// GradientLimit: finds how much may be under way at once from how long it takes. After Netflix's concurrency-limits
// (Gradient2Limit; "Performance Under Load", Netflix Technology Blog, 2018), as Envoy's gradient controller in spirit.
//
// Two averages of the latency are kept: of the window that has just ended, and a slow one over many windows. While they
// agree the limit grows by `room` a window (so that a queue of that size may form and tell us that it does); when the
// present latency is higher it shrinks by their ratio, by no more than half, smoothed:
//
//   gradient = clamp(tolerance · slow / present, 0.5, 1)
//   limit'   = (1 - smoothing) · limit + smoothing · (limit · gradient + room), within [least, most]
//
// Nothing is learnt from a window in which less than half of the limit was in use: then it is not the limit that
// decides. When the slow average is more than twice the present one, bad times are over and it comes down by a tenth a
// window. A window with a failure that tells of overload shrinks the limit by a tenth at once (additive increase,
// multiplicative decrease: what is refused elsewhere says nothing by its latency). Ours: windows end by time and by
// number of samples (Netflix: WindowedLimit), and the slow average begins as the plain mean of the first ten.
#include <algorithm>
#include <chrono>
#include <cstdint>

#include "core/base/clock.hpp"

namespace fiberd::flow {

struct GradientOptions {
  std::uint32_t least = 1;
  std::uint32_t most = 1000;
  double smoothing = 0.2;
  double tolerance = 1.5;  ///< how much slower than usual is no sign of a queue
  double room = 4;
  unsigned memory = 600;  ///< windows of the slow average
  std::chrono::nanoseconds window = std::chrono::milliseconds(100);
  unsigned least_samples = 10;  ///< before a window ends
};

/// Not thread-safe: used under its limiter's lock.
class GradientLimit {
 public:
  GradientLimit(const GradientOptions& options, std::uint32_t initial) noexcept
      : options_(options), limit_(std::clamp<double>(initial, options.least, std::max(options.least, options.most))) {}

  /// One that took `latency` ns, begun when `in_flight` (itself included) were under way. True: the limit may have
  /// changed.
  bool sample(std::int64_t now, std::int64_t latency, std::uint32_t in_flight) noexcept {
    sum_ += static_cast<double>(std::max<std::int64_t>(latency, 1));
    ++samples_;
    return note(now, in_flight);
  }
  /// One that failed for overload.
  bool overload(std::int64_t now, std::uint32_t in_flight) noexcept {
    ++failures_;
    return note(now, in_flight);
  }
  [[nodiscard]] std::uint32_t limit() const noexcept { return static_cast<std::uint32_t>(limit_); }
  /// Latencies in ns: the slow average; 0 before the first window.
  [[nodiscard]] double slow() const noexcept { return slow_; }

 private:
  bool note(std::int64_t now, std::uint32_t in_flight) noexcept {
    most_in_flight_ = std::max(most_in_flight_, in_flight);
    if (window_end_ == 0) window_end_ = time_after(now, options_.window);
    if (now < window_end_ || samples_ + failures_ < options_.least_samples) return false;
    end_window();
    window_end_ = time_after(now, options_.window);
    return true;
  }
  void end_window() noexcept;

  const GradientOptions options_;
  double limit_;
  double slow_ = 0;
  unsigned windows_ = 0;
  // Of the present window
  std::int64_t window_end_ = 0;
  double sum_ = 0;
  unsigned samples_ = 0;
  unsigned failures_ = 0;
  std::uint32_t most_in_flight_ = 0;
};

}  // namespace fiberd::flow
