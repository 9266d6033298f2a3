#pragma once
// The page of metrics as OpenMetrics 1.0 (github.com/OpenObservability/OpenMetrics, the specification's text format).
// prometheus-cpp writes Prometheus' older format alone. What this one adds:
// - Counters are named without _total where the family is described, with it where a sample is; info metrics likewise.
// - # UNIT, where a name says its unit.
// - _created: since when a counter or histogram counts, where that is not since the process began: of series that come
//   and go with listeners, routes, methods and codes. The others' is process_start_time_seconds, and a line for each
//   would double them in a scraper that keeps these lines as series.
// - Exemplars, behind the buckets that they fell into.
#include <prometheus/metric_family.h>

#include <span>
#include <string>
#include <string_view>

#include "core/metric/registry.hpp"

namespace fiberd::observe {

inline constexpr std::string_view kOpenMetricsType = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// `families` in the order of the page. `counted`: of those among them that are a registry's, in their order and with
/// their samples in order, what the families do not say. Throws std::bad_alloc.
[[nodiscard]] std::string render_openmetrics(std::span<const prometheus::MetricFamily> families,
                                             std::span<const metric::FamilySnapshot> counted);

/// Whether a value of Accept that names application/openmetrics-text asks for version 1.0.0: each range that does
/// without a version, or with this one. A client that knows the drafts alone (0.0.1) is not given it.
[[nodiscard]] bool accepts_version_1(std::string_view accept) noexcept;

}  // namespace fiberd::observe
