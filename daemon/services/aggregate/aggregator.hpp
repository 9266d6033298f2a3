#pragma once
// Aggregator: from lines to series. Lines come in batches on any number of fibers at once; at the end of an interval
// collect() takes what they added up to.
//
// A line costs: parsing it in place, one hash of its name and tags, one look-up by what stands in the line, and one
// short section under the lock of the series' shard. Nothing is allocated but for a new series, a set's new member and
// a bin of a timer that no value of the interval fell into before. What lines and refusals are counted in is added to
// the metrics once a batch. Whoever reads the result reads a View, which knows nothing of the aggregator: readers cost
// a line nothing.
//
// Order: lines of one call to add() are taken in their order. Gauges make it matter: one client's lines must not be
// given to two calls at the same time.
#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/flow/pressure.hpp"
#include "core/metric/metrics.hpp"
#include "core/sync/sharded_map.hpp"
#include "daemon/services/aggregate/series.hpp"
#include "daemon/services/aggregate/view.hpp"

namespace fiberd::daemon::aggregate {

/// Why a line, or a set's member, was not taken. The first ones are StatsdError's, one less.
enum class Refusal : std::uint8_t {
  name,
  value,
  type,
  rate,
  tags,  ///< also two tags that make the same label
  section,
  length,
  series,       ///< it would make one series more than are allowed
  name_clash,   ///< another metric has its name on the Prometheus page, or other tags have its labels
  set_members,  ///< it would make one set member more than are allowed
  memory,       ///< none was left for a new series or member, or it runs short
  count_
};
[[nodiscard]] std::string_view to_string(Refusal refusal) noexcept;

struct AggregatorOptions {
  std::string listener;
  std::size_t series = 10'000;
  std::size_t set_members = 100'000;   ///< of all sets in one interval
  std::uint32_t expire_intervals = 0;  ///< a series for which no line came for so many is forgotten; 0: never
  std::size_t line_size = 8192;        ///< bytes; longer ones are refused
  std::vector<std::pair<std::string, double>> percentiles;  ///< ascending
  bool keep_distributions = false;                          ///< views hold sketches and members (for StatsD upstreams)
  /// While it sheds normal priority there are no new series and members; what is there goes on. May be null; outlives
  /// the aggregator.
  const flow::Pressure* pressure = nullptr;
};

/// Each may be null.
struct AggregatorMetrics {
  std::array<metric::Counter*, static_cast<std::size_t>(StatsdType::count_)> lines{};
  std::array<metric::Counter*, static_cast<std::size_t>(Refusal::count_)> refused{};
  metric::Counter* expired = nullptr;
  metric::Gauge* series = nullptr;
};

/// Thread-safe but for collect(). Never parks: base locks only, for short.
class Aggregator {
 public:
  Aggregator(AggregatorOptions options, const AggregatorMetrics& metrics);
  ~Aggregator();

  /// Whole lines, each with its '\n' or without at the end; empty ones are no lines. Memory that runs out refuses
  /// single lines.
  void add(std::string_view lines) noexcept;
  /// A line that whoever cut the stream has refused.
  void refuse(Refusal reason, std::uint64_t n = 1) noexcept;

  /// Ends the interval: what came in it, and the pages. One caller at a time. Takes milliseconds with thousands of
  /// series: run it where no fiber waits for it. Throws std::bad_alloc; then what came in the interval may be lost.
  [[nodiscard]] ViewPointer collect(std::chrono::nanoseconds interval);

  [[nodiscard]] std::size_t series() const noexcept { return map_.size(); }

 private:
  using Map = sync::ShardedMap<SeriesKey, Series, SeriesHash, SeriesEqual>;
  /// Counts of one batch.
  struct Tally {
    std::array<std::uint32_t, static_cast<std::size_t>(StatsdType::count_)> lines{};
    std::array<std::uint32_t, static_cast<std::size_t>(Refusal::count_)> refused{};
    void refuse(Refusal reason) noexcept { ++refused[static_cast<std::size_t>(reason)]; }
  };
  void add_line(std::string_view text, StatsdLine& line, Tally& tally);
  bool take(Series& series, const StatsdLine& line, Tally& tally);
  void create(const SeriesView& key, const StatsdLine& line, Tally& tally);
  [[nodiscard]] bool memory_is_short() const noexcept;
  [[nodiscard]] bool reserve_member() noexcept;
  void finish(View& view);

  const AggregatorOptions options_;
  const AggregatorMetrics metrics_;
  PrometheusNames names_;
  std::atomic<std::size_t> members_{0};  // of all sets in this interval
  Map map_;
};

}  // namespace fiberd::daemon::aggregate
