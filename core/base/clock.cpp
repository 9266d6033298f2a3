#include "core/base/clock.hpp"

#include <time.h>

namespace fiberd {

static std::atomic<ClockSource> clock_source{nullptr};

std::int64_t monotonic_now() noexcept {
  if (const ClockSource source = clock_source.load(std::memory_order_relaxed)) [[unlikely]]
    return source();
  timespec ts;
  clock_gettime(CLOCK_MONOTONIC, &ts);
  return std::int64_t{ts.tv_sec} * 1'000'000'000 + ts.tv_nsec;
}

std::chrono::system_clock::time_point wall_now() noexcept { return std::chrono::system_clock::now(); }

void set_clock_source(ClockSource source) noexcept { clock_source.store(source, std::memory_order_relaxed); }

}  // namespace fiberd
