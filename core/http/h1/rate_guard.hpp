#pragma once
// RateGuard: the least speed a client must keep up. A time-out that every byte renews keeps a client that drips one
// byte a minute for ever; so the whole time a transfer makes us wait is held against what it moved. Only waiting
// counts: a handler that dawdles, or an upstream, is not the client's fault.
#include <chrono>
#include <cstdint>

#include "core/base/clock.hpp"

namespace fiberd::http {

/// Of one transfer in one direction. Not thread-safe.
class RateGuard {
 public:
  void reset() noexcept { bytes_ = waited_ = 0; }

  /// By when a wait that begins now must end. `rate` in bytes per second, 0: no bound. `grace` ns are free.
  [[nodiscard]] Deadline limit(std::int64_t now, std::uint64_t rate, std::int64_t grace) const noexcept {
    if (rate == 0) return Deadline::never();
    return Deadline::after(now, std::chrono::nanoseconds(allowed(rate, grace) - waited_));
  }
  /// A call moved `bytes` and waited `ns`.
  void note(std::uint64_t bytes, std::int64_t ns) noexcept {
    bytes_ += bytes;
    waited_ += ns;
  }
  /// Whether it was this bound that ended the wait.
  [[nodiscard]] bool spent(std::uint64_t rate, std::int64_t grace) const noexcept {
    return rate != 0 && waited_ >= allowed(rate, grace);
  }

 private:
  static constexpr std::uint64_t kMostSeconds = 1'000'000'000;
  [[nodiscard]] std::int64_t allowed(std::uint64_t rate, std::int64_t grace) const noexcept {
    if (bytes_ < rate) return grace;  // of most transfers: no division
    const std::uint64_t seconds = bytes_ / rate < kMostSeconds ? bytes_ / rate : kMostSeconds;
    return time_after(grace, std::chrono::seconds(seconds));
  }
  std::uint64_t bytes_ = 0;
  std::int64_t waited_ = 0;
};

}  // namespace fiberd::http
