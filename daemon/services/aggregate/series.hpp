#pragma once
// Series: what is known of one name with its tags; its key; and Row, what a view shows of it.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_set>
#include <utility>
#include <vector>

#include "core/base/hash.hpp"
#include "core/metric/sketch.hpp"
#include "daemon/services/aggregate/prometheus_names.hpp"
#include "daemon/services/aggregate/statsd_line.hpp"

namespace fiberd::daemon::aggregate {

/// A key as a line has it: looked up without being put together.
struct SeriesView {
  Kind kind;
  std::string_view name;
  std::string_view tags;  ///< in order
};

/// A key as the map holds it: name, '|', tags.
struct SeriesKey {
  explicit SeriesKey(const SeriesView& v) : text(std::string(v.name) + '|' + std::string(v.tags)), kind(v.kind) {}
  [[nodiscard]] SeriesView view() const noexcept {
    const std::string_view all = text;
    const std::size_t bar = all.find('|');
    return {kind, all.substr(0, bar), all.substr(bar + 1)};
  }
  std::string text;
  Kind kind;
};

struct SeriesHash {
  std::size_t operator()(const SeriesView& key) const noexcept {
    const std::uint64_t seed = hash_seed() + static_cast<std::uint64_t>(key.kind);
    return hash_bytes(key.tags.data(), key.tags.size(), hash_bytes(key.name.data(), key.name.size(), seed));
  }
  std::size_t operator()(const SeriesKey& key) const noexcept { return (*this)(key.view()); }
};

struct SeriesEqual {
  bool operator()(const SeriesKey& a, const SeriesView& b) const noexcept {
    const std::string_view text = a.text;
    return a.kind == b.kind && text.size() == b.name.size() + 1 + b.tags.size() && text[b.name.size()] == '|' &&
           text.starts_with(b.name) && text.ends_with(b.tags);
  }
  bool operator()(const SeriesKey& a, const SeriesKey& b) const noexcept {
    return a.kind == b.kind && a.text == b.text;
  }
};

/// What a series is called. Shared by the series and by every view that shows it; never changes.
struct SeriesInfo {
  PrometheusLabels labels;  ///< Prometheus', and the family
  std::string tags;         ///< StatsD's, in order
  StatsdType type;          ///< of the line that made it
};

/// Distinct members, exactly.
struct MemberHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const noexcept { return hash_bytes(s.data(), s.size(), hash_seed()); }
};
using Members = std::unordered_set<std::string, MemberHash, std::equal_to<>>;

/// Guarded by the lock of the map's shard that it is in.
struct Series {
  // Of each sign, for an interval: 8.9 powers of ten.
  static constexpr std::size_t kBins = 1024;

  std::shared_ptr<const SeriesInfo> info;  ///< null: just made
  double total = 0;                        ///< counter: since its first line. gauge: its value. timer: sum
  double count = 0;                        ///< timer: observations since its first line
  double delta = 0;                        ///< counter: in this interval
  bool touched = false;                    ///< a line came in this interval
  std::uint32_t idle_intervals = 0;        ///< without a line, up to the present one
  std::unique_ptr<metric::Sketch> sketch;  ///< timer: of this interval
  std::unique_ptr<Members> members;        ///< set: of this interval

  /// Counters, gauges and timers. Throws std::bad_alloc; then a part of a line's values may have been taken.
  void add(const StatsdLine& line);
};

/// A series as it was at the end of an interval.
struct Row {
  std::shared_ptr<const SeriesInfo> info;
  double total = 0;                              ///< as Series::total; of a set: members in the interval
  double count = 0;                              ///< as Series::count
  double delta = 0;                              ///< counter: of the interval; timer: observations in the interval
  bool touched = false;                          ///< in the interval
  std::vector<double> quantiles;                 ///< timer: one for each of the listener's percentiles, NaN: none came
  std::unique_ptr<const metric::Sketch> sketch;  ///< timer: of the interval; null: none came, or nobody wants it
  std::unique_ptr<const Members> members;        ///< set: as `sketch`
};

}  // namespace fiberd::daemon::aggregate
