#include "core/trace/tracer.hpp"

#include <climits>
#include <cmath>
#include <utility>

#include "core/runtime/runtime.hpp"

namespace fiberd::trace {

static std::uint64_t threshold(double ratio) noexcept {
  if (ratio >= 1) return UINT64_MAX;
  return ratio > 0 ? static_cast<std::uint64_t>(std::ldexp(ratio, 64)) : 0;
}

/// What is drawn for one trace in a while is -ln(u) of it.
static constexpr double kUnit = 0x1p48;
static constexpr std::int64_t kEach = INT64_MAX / 2;  // a step for a share of all

static std::int64_t step_of(double ratio) noexcept {
  if (ratio >= 1) return kEach;
  if (!(ratio > 0)) return 0;
  return std::max<std::int64_t>(std::llround(-std::log1p(-ratio) * kUnit), 1);
}

Tracer::Tracer(const TracerOptions& options, std::shared_ptr<SpanQueue> queue, const TracerMetrics& metrics) noexcept
    : options_(options),
      queue_(std::move(queue)),
      metrics_(metrics),
      below_(threshold(options.ratio)),
      step_(step_of(options.ratio)),
      failing_(options.errors ? 500 : UINT_MAX),
      slow_(options.slow.count() != 0 ? static_cast<std::uint64_t>(options.slow.count()) : UINT64_MAX) {}

/// `left`: of what was drawn before, behind this trace's step.
bool Tracer::draw_anew(std::atomic<std::int64_t>& amount, std::int64_t left) const noexcept {
  if (step_ == kEach) return true;
  const auto draw = [] {
    const double u = static_cast<double>((runtime::random() >> 11U) + 1) * 0x1p-53;  // over 0, and 1 at most
    return static_cast<std::int64_t>(-std::log(u) * kUnit) + 1;
  };
  const bool first = left + step_ == 0;
  if (first) left = draw() - step_;
  const bool sampled = left <= 0;
  amount.store(sampled ? draw() : left, std::memory_order_relaxed);
  return sampled;
}

TraceId Tracer::make_id(bool sampled) const noexcept {
  const auto random_below = [](std::uint64_t bound) {
    __extension__ using Wide = unsigned __int128;
    return static_cast<std::uint64_t>((static_cast<Wide>(runtime::random()) * bound) >> 64U);
  };
  TraceId id{std::max<std::uint64_t>(runtime::random(), 1), 0};
  if (below_ == UINT64_MAX || below_ == 0)
    id.low = runtime::random();
  else
    id.low = sampled ? random_below(below_) : below_ + random_below(std::uint64_t{0} - below_);
  return id;
}

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
  return false;
}

}  // namespace fiberd::trace
