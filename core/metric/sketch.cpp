#include "core/metric/sketch.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/base/bug.hpp"

namespace fiberd::metric {

static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
// Below it a magnitude counts as zero: an index stays far from what 32 bits hold.
static constexpr double kSmallest = 1e-300;

Sketch::Sketch(double relative_error, std::size_t max_bins) noexcept
    : log_gamma_(std::log1p(2 * relative_error / (1 - relative_error))), max_bins_(max_bins), min_(kNone), max_(kNone) {
  (void)FIBERD_BUG_IF(!(relative_error > 0 && relative_error <= 0.5) || max_bins < 2);
}

std::int32_t Sketch::index_of(double magnitude) const noexcept {
  return static_cast<std::int32_t>(std::ceil(std::log(magnitude) / log_gamma_));
}

double Sketch::value_of(std::int32_t index) const noexcept {
  // 2 g^i / (g+1): the one number that is within the relative error of both ends of the bin.
  return std::exp(index * log_gamma_) * 2 / (std::exp(log_gamma_) + 1);
}

/// Makes room for `index` and says where in `bins` it is counted. Grows by more than it must, so that a stream that
/// wanders does not move the bins each time.
std::size_t Sketch::Store::cover(std::int32_t index, std::size_t max_bins) {
  static constexpr std::int32_t kMargin = 32;
  if (bins.empty()) {
    bins.assign(1, 0);
    first = index;
    return 0;
  }
  const std::int64_t most = static_cast<std::int64_t>(max_bins);
  const std::int64_t last = first + static_cast<std::int64_t>(bins.size()) - 1;
  if (index >= first && index <= last) return static_cast<std::size_t>(index - first);
  if (index < first) {
    // Never below what the highest bin allows; what lies lower is counted in the lowest.
    const std::int64_t lowest = std::max<std::int64_t>(last - most + 1, std::int64_t{index} - kMargin);
    if (lowest < first) {
      bins.insert(bins.begin(), static_cast<std::size_t>(first - lowest), 0.0);
      first = static_cast<std::int32_t>(lowest);
    }
    return index < first ? 0 : static_cast<std::size_t>(index - first);
  }
  // Higher than all: the lowest bins are put together when there would be too many. Trailing room counts as bins, so
  // none is made here: which bins are kept may depend on the numbers only.
  const std::int64_t lowest = std::max<std::int64_t>(first, index - most + 1);
  if (lowest > first) {
    const std::int64_t merged = std::min<std::int64_t>(lowest - first, static_cast<std::int64_t>(bins.size()));
    double low = 0;
    for (std::int64_t i = 0; i < merged; ++i) low += bins[static_cast<std::size_t>(i)];
    bins.erase(bins.begin(), bins.begin() + merged);
    first = static_cast<std::int32_t>(lowest);
    bins.resize(static_cast<std::size_t>(index - first) + 1, 0.0);
    bins.front() += low;
  } else {
    bins.resize(static_cast<std::size_t>(index - first) + 1, 0.0);
  }
  return static_cast<std::size_t>(index - first);
}

void Sketch::Store::add(std::int32_t index, double weight, std::size_t max_bins) {
  bins[cover(index, max_bins)] += weight;
}

void Sketch::Store::merge(const Store& other, std::size_t max_bins) {
  // From the top, so that what is put together is put together once.
  for (std::size_t i = other.bins.size(); i-- > 0;)
    if (other.bins[i] != 0) add(other.first + static_cast<std::int32_t>(i), other.bins[i], max_bins);
}

void Sketch::Store::clear() noexcept { bins.clear(); }

void Sketch::add(double value, double weight) {
  const double magnitude = std::abs(value);
  if (magnitude <= kSmallest) {
    zeros_ += weight;
  } else {
    (value > 0 ? positive_ : negative_).add(index_of(magnitude), weight, max_bins_);
  }
  count_ += weight;
  sum_ += value * weight;
  min_ = std::fmin(min_, value);
  max_ = std::fmax(max_, value);
}

void Sketch::merge(const Sketch& other) {
  if (FIBERD_BUG_IF(log_gamma_ != other.log_gamma_ || max_bins_ != other.max_bins_)) return;
  positive_.merge(other.positive_, max_bins_);
  negative_.merge(other.negative_, max_bins_);
  zeros_ += other.zeros_;
  count_ += other.count_;
  sum_ += other.sum_;
  min_ = std::fmin(min_, other.min_);
  max_ = std::fmax(max_, other.max_);
}

void Sketch::clear() noexcept {
  positive_.clear();
  negative_.clear();
  zeros_ = count_ = sum_ = 0;
  min_ = max_ = kNone;
}

double Sketch::quantile(double q) const noexcept {
  double out = kNone;
  quantiles({&q, 1}, {&out, 1});
  return out;
}

void Sketch::quantiles(std::span<const double> qs, std::span<double> out) const noexcept {
  const std::size_t n = std::min(qs.size(), out.size());
  std::fill(out.begin(), out.end(), kNone);
  if (empty()) return;
  // The paper's rank: q (n-1), counted from 0; the bin in which the running count first exceeds it. A bin's value costs
  // a power, so it is asked for only when it is one that is sought.
  const auto rank = [&](std::size_t i) { return std::clamp(qs[i], 0.0, 1.0) * std::max(count_ - 1, 0.0); };
  std::size_t next = 0;
  double seen = 0;
  const auto pass = [&](double weight, auto value) {
    seen += weight;
    if (next == n || rank(next) >= seen) return;
    const double found = std::clamp(value(), min_, max_);
    for (; next < n && rank(next) < seen; ++next) out[next] = found;
  };
  for (std::size_t i = negative_.bins.size(); i-- > 0;)
    pass(negative_.bins[i], [&] { return -value_of(negative_.first + static_cast<std::int32_t>(i)); });
  pass(zeros_, [] { return 0.0; });
  for (std::size_t i = 0; i < positive_.bins.size() && next < n; ++i)
    pass(positive_.bins[i], [&] { return value_of(positive_.first + static_cast<std::int32_t>(i)); });
  // Rounding of weights may leave the last ones over.
  for (; next < n; ++next) out[next] = max_;
}

std::size_t Sketch::bins() const noexcept {
  std::size_t n = 0;
  for_each([&](double, double) { ++n; });
  return n;
}

std::size_t Sketch::bytes() const noexcept {
  return (positive_.bins.capacity() + negative_.bins.capacity()) * sizeof(double);
}

}  // namespace fiberd::metric
