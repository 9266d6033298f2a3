#pragma once
// Sketch: quantiles of a stream of numbers, each within 1 % of the true one, in bounded memory, and mergeable: the
// sketch of two streams is the merge of their sketches.
//
// DDSketch (Masson, Rim, Lee: DDSketch: A Fast and Fully-Mergeable Quantile Sketch with Relative-Error Guarantees,
// VLDB 2019). With relative error a and g = (1+a)/(1-a), a number x > 0 is counted in bin ceil(log_g x); all numbers of
// a bin are within a of the one that stands for it, 2 g^i / (g+1). Negative numbers have bins of their own by their
// absolute value; what is too small to have a bin, zero included, is counted apart.
//
// Bounded: of each sign at most `max_bins` bins, the highest ones; lower ones are put together with the lowest of them
// (the paper's section 2.2), so that quantiles among the smallest numbers lose their guarantee, and none else. 2,048
// bins hold 17 powers of ten. What is kept is a function of the numbers alone and not of their order, so merging is
// commutative and associative (the sums but for rounding).
//
// Rejected: t-digest (no bound of the error, merging depends on the order); HDR histogram (its range must be known
// first); CKMS, as Prometheus clients use (not mergeable).
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace fiberd::metric {

/// Not thread-safe.
class Sketch {
 public:
  static constexpr std::size_t kMaxBins = 2048;
  static constexpr double kRelativeError = 0.01;

  /// `relative_error` in (0, 0.5]; `max_bins` ≥ 2. Allocates nothing before the first add().
  explicit Sketch(double relative_error = kRelativeError, std::size_t max_bins = kMaxBins) noexcept;

  /// Counts `weight` (> 0) observations of `value`; both finite. Throws std::bad_alloc, and is unchanged then.
  void add(double value, double weight = 1);
  /// As if all that was added to `other` had been added here. Both must have been made alike (BUG otherwise). Throws
  /// std::bad_alloc.
  void merge(const Sketch& other);
  /// Forgets what was added and keeps the memory: the next stream is likely to be like the last.
  void clear() noexcept;

  /// The value below or at which a share `q` of the observations lies (0 … 1: outside is taken as the nearer end),
  /// within the relative error, and never outside min() … max(). NaN without observations.
  [[nodiscard]] double quantile(double q) const noexcept;
  /// quantile() of each of `qs`, which ascend, in one pass.
  void quantiles(std::span<const double> qs, std::span<double> out) const noexcept;

  [[nodiscard]] double count() const noexcept { return count_; }
  [[nodiscard]] double sum() const noexcept { return sum_; }
  [[nodiscard]] double min() const noexcept { return min_; }  ///< NaN without observations
  [[nodiscard]] double max() const noexcept { return max_; }
  [[nodiscard]] bool empty() const noexcept { return count_ == 0; }
  [[nodiscard]] std::size_t bins() const noexcept;   ///< that are not empty, that of zero included
  [[nodiscard]] std::size_t bytes() const noexcept;  ///< of memory, this object not included

  /// Calls `each(value, weight)` for every bin that is not empty, in ascending order of its value.
  template <class F>
  void for_each(F each) const {
    for (std::size_t i = negative_.bins.size(); i-- > 0;)
      if (negative_.bins[i] != 0) each(-value_of(negative_.first + static_cast<std::int32_t>(i)), negative_.bins[i]);
    if (zeros_ != 0) each(0.0, zeros_);
    for (std::size_t i = 0; i < positive_.bins.size(); ++i)
      if (positive_.bins[i] != 0) each(value_of(positive_.first + static_cast<std::int32_t>(i)), positive_.bins[i]);
  }

 private:
  /// Bins of consecutive indices from `first`.
  struct Store {
    std::vector<double> bins;
    std::int32_t first = 0;
    void add(std::int32_t index, double weight, std::size_t max_bins);
    void merge(const Store& other, std::size_t max_bins);
    [[nodiscard]] std::size_t cover(std::int32_t index, std::size_t max_bins);
    void clear() noexcept;
  };
  [[nodiscard]] std::int32_t index_of(double magnitude) const noexcept;
  [[nodiscard]] double value_of(std::int32_t index) const noexcept;

  double log_gamma_;  // natural logarithm of g
  std::size_t max_bins_;
  Store positive_;
  Store negative_;
  double zeros_ = 0;
  double count_ = 0;
  double sum_ = 0;
  double min_;
  double max_;
};

}  // namespace fiberd::metric
