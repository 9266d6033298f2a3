#include "core/trace/tracer.hpp"

#include <cmath>
#include <utility>

namespace fiberd::trace {

static std::uint64_t threshold(double ratio) noexcept {
  if (ratio >= 1) return UINT64_MAX;
  return ratio > 0 ? static_cast<std::uint64_t>(std::ldexp(ratio, 64)) : 0;
}

Tracer::Tracer(const TracerOptions& options, std::shared_ptr<SpanQueue> queue, const TracerMetrics& metrics) noexcept
    : options_(options), queue_(std::move(queue)), metrics_(metrics), below_(threshold(options.ratio)) {}

bool Tracer::admit(std::int64_t now) const noexcept {
  if (options_.per_second == 0) return true;
  const std::int64_t second = now / 1'000'000'000;
  std::int64_t seen = second_.load(std::memory_order_relaxed);
  // Who was asked in the second before by a clock that is behind counts in this one.
  if (second > seen && second_.compare_exchange_strong(seen, second, std::memory_order_relaxed))
    kept_.store(0, std::memory_order_relaxed);
  if (kept_.load(std::memory_order_relaxed) < options_.per_second &&
      kept_.fetch_add(1, std::memory_order_relaxed) < options_.per_second)
    return true;
  metric::count(metrics_.over_rate);
  return false;
}

}  // namespace fiberd::trace
