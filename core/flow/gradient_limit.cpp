#include "core/flow/gradient_limit.hpp"

namespace fiberd::flow {

static constexpr unsigned kWarmUp = 10;

void GradientLimit::end_window() noexcept {
  const bool app_limited = most_in_flight_ < limit_ / 2;
  double next = limit_;
  if (samples_ != 0) {
    const double present = sum_ / samples_;
    ++windows_;
    if (windows_ <= kWarmUp) {
      slow_ += (present - slow_) / windows_;
    } else {
      slow_ += (present - slow_) * 2 / (options_.memory + 1);
    }
    if (slow_ > 2 * present) slow_ *= 0.9;
    const double gradient = std::clamp(options_.tolerance * slow_ / present, 0.5, 1.0);
    next = limit_ * (1 - options_.smoothing) + (limit_ * gradient + options_.room) * options_.smoothing;
    if (app_limited) next = limit_;
  }
  if (failures_ != 0) next = limit_ * 0.9;
  limit_ = std::clamp<double>(next, options_.least, std::max(options_.least, options_.most));
  sum_ = 0;
  samples_ = failures_ = 0;
  most_in_flight_ = 0;
}

}  // namespace fiberd::flow
