#pragma once
// Counter, Gauge, Histogram: handles on cells. Made by a Registry, valid as long as it lives. All operations are
// thread-safe, never park, allocate nothing after a shard's first use, and take no lock.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/metric/cells.hpp"
#include "core/metric/exemplars.hpp"

namespace fiberd::metric {

/// Goes up only.
class Counter {
 public:
  Counter(Cells& cells, CellId id) noexcept : cells_(cells), id_(id), spot_(Cells::spot_of(id)) {}
  void add(std::uint64_t n = 1) noexcept { cells_.here().add(spot_, n); }
  /// For who adds to several metrics of one registry at once (Registry::here()).
  void add(const Cells::Here& here, std::uint64_t n = 1) noexcept { here.add(spot_, n); }
  [[nodiscard]] std::uint64_t value() const noexcept { return cells_.sum(id_); }

 private:
  Cells& cells_;
  CellId id_;
  Cells::Spot spot_;
};

/// Counts, where there is a counter to count with.
inline void count(Counter* counter) noexcept {
  if (counter != nullptr) counter->add();
}

/// A level. Either add and sub it (from anywhere: the shards' sum counts) or set it; a set replaces earlier sets only.
class Gauge {
 public:
  Gauge(Cells& cells, CellId id) noexcept : cells_(cells), id_(id), spot_(Cells::spot_of(id)) {}
  void add(std::int64_t n = 1) noexcept { cells_.here().add(spot_, static_cast<std::uint64_t>(n)); }
  void sub(std::int64_t n = 1) noexcept { cells_.here().add(spot_, std::uint64_t{0} - static_cast<std::uint64_t>(n)); }
  void add(const Cells::Here& here) noexcept { here.add(spot_, 1); }
  void sub(const Cells::Here& here) noexcept { here.add(spot_, ~std::uint64_t{0}); }
  void set(std::int64_t value) noexcept { base_.store(value, std::memory_order_relaxed); }
  [[nodiscard]] std::int64_t value() const noexcept {
    return static_cast<std::int64_t>(cells_.sum(id_) +
                                     static_cast<std::uint64_t>(base_.load(std::memory_order_relaxed)));
  }

 private:
  Cells& cells_;
  CellId id_;
  Cells::Spot spot_;
  std::atomic<std::int64_t> base_{0};
};

/// Upper bounds for latencies in ns, 100 µs … 10 s: what a service's objectives are written in.
inline constexpr std::array<std::uint64_t, 16> kLatencyBoundsNs{
    100'000,    250'000,     500'000,     1'000'000,   2'500'000,     5'000'000,     10'000'000,    25'000'000,
    50'000'000, 100'000'000, 250'000'000, 500'000'000, 1'000'000'000, 2'500'000'000, 5'000'000'000, 10'000'000'000};

/// Upper bounds in ns, 1 ms … 1 day: how long connections live.
inline constexpr std::array<std::uint64_t, 13> kLifetimeBoundsNs{
    1'000'000,         10'000'000,         100'000'000,       1'000'000'000,   5'000'000'000,
    10'000'000'000,    30'000'000'000,     60'000'000'000,    300'000'000'000, 1'800'000'000'000,
    3'600'000'000'000, 21'600'000'000'000, 86'400'000'000'000};

/// Counts of observations between fixed bounds, and their sum; and for some of them an exemplar.
class Histogram {
 public:
  Histogram(Cells& cells, CellId first, std::span<const std::uint64_t> bounds) noexcept
      : cells_(cells),
        first_(first),
        spot_(Cells::spot_of(first)),
        together_(Cells::spot_of(first + static_cast<CellId>(bounds.size()) + 1).segment == spot_.segment),
        bounds_(bounds) {}
  ~Histogram() { delete exemplars_.load(std::memory_order_relaxed); }
  Histogram(const Histogram&) = delete;
  Histogram& operator=(const Histogram&) = delete;

  /// `value` in the unit of the bounds (ns for latencies). A value equal to a bound belongs to that bound's bucket.
  void observe(std::uint64_t value) noexcept { observe(cells_.here(), value); }
  /// An observation that a trace was kept of. When there is no memory for exemplars it counts without.
  void observe(std::uint64_t value, const Exemplar& exemplar) noexcept { observe(cells_.here(), value, &exemplar); }
  /// `exemplar`, if there is one.
  [[gnu::always_inline]] void observe(const Cells::Here& here, std::uint64_t value,
                                      const Exemplar* exemplar = nullptr) noexcept {
    // From the low end: most observations are fast, and the loop is short and predicted.
    std::uint32_t bucket = 0;
    while (bucket < bounds_.size() && value > bounds_[bucket]) ++bucket;
    here.add(spot_, value);
    here.add(together_ ? Cells::Spot{spot_.segment, spot_.offset + 1 + bucket} : Cells::spot_of(first_ + 1 + bucket),
             1);
    if (exemplar != nullptr) [[unlikely]]
      keep(bucket, value, *exemplar);
  }
  /// Null before the first one. Grows by none.
  [[nodiscard]] const Exemplars* exemplars() const noexcept { return exemplars_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t sum() const noexcept { return cells_.sum(first_); }
  /// Not cumulative; the last one counts what exceeds every bound.
  [[nodiscard]] std::vector<std::uint64_t> buckets() const {
    std::vector<std::uint64_t> counts(bounds_.size() + 1);
    for (std::uint32_t i = 0; i < counts.size(); ++i) counts[i] = cells_.sum(first_ + 1 + i);
    return counts;
  }
  /// Cells that a histogram with `bounds` bounds takes: sum, buckets, overflow bucket.
  [[nodiscard]] static constexpr std::uint32_t cells_needed(std::size_t bounds) noexcept {
    return static_cast<std::uint32_t>(bounds) + 2;
  }

 private:
  void keep(std::uint32_t bucket, std::uint64_t value, const Exemplar& exemplar) noexcept;

  Cells& cells_;
  CellId first_;
  Cells::Spot spot_;
  bool together_;  // all its cells are in one segment
  std::span<const std::uint64_t> bounds_;
  std::atomic<Exemplars*> exemplars_{nullptr};  // owned
};

}  // namespace fiberd::metric
