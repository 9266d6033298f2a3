#pragma once
// View: everything an aggregator knew at the end of an interval, as it is shown and sent on. Never changes.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "daemon/services/aggregate/series.hpp"

namespace fiberd::daemon::aggregate {

struct View {
  std::string listener;
  std::int64_t unix_milliseconds = 0;
  std::chrono::nanoseconds interval{0};
  std::vector<std::pair<std::string, double>> percentiles;
  std::vector<Row> rows;   ///< by family name, then labels
  std::string prometheus;  ///< the page, made once however many read it
  std::string json;
  std::size_t bytes = 0;  ///< of memory that it holds, about
};
using ViewPointer = std::shared_ptr<const View>;

/// Prometheus' text format 0.0.4: counters as name_total, gauges, timers as summaries whose quantiles are those of the
/// last interval (NaN: none came) and whose sum and count go on, sets as gauges of their members in the last interval.
[[nodiscard]] std::string render_prometheus(const View& view);

/// One object: listener, time, interval, and a list of series with StatsD's names and tags.
[[nodiscard]] std::string render_json(const View& view);

/// StatsD lines for what came in the interval, in pieces of whole lines of at most `piece` bytes (a line that is longer
/// is a piece of its own). Counters: their growth. Gauges: their value; a negative one after a 0, since its sign alone
/// would make it a change. Timers: a line for each bin of the sketch, with the sampling rate that stands for its
/// weight, so that an upstream's percentiles are right within 1 %. Sets: their members.
[[nodiscard]] std::vector<std::string> render_statsd(const View& view, std::size_t piece);

}  // namespace fiberd::daemon::aggregate
