#pragma once
// The catalogue: every metric family the daemon exports, in one table. The exporter takes names and help from it,
// docs/metrics.md is generated from it, and other rooms' families are registered from it; so the three cannot drift.
#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "core/metric/registry.hpp"

namespace fiberd::observe {

/// Where a family's samples come from.
enum class Source : std::uint8_t {
  runtime,  ///< runtime::MemStats, at scrape
  process,  ///< /proc, at scrape
  registry  ///< counted by the rooms that own them, in the metric::Registry
};

struct MetricInfo {
  std::string_view name;
  metric::Type type;
  Source source;
  std::array<std::string_view, 5> labels;  ///< unused ones are empty
  std::string_view unit;                   ///< base unit, or what is counted
  std::string_view help;
  std::size_t max_series = 1'000;
  std::string_view counts_of{};             ///< FamilySpec::counts_of
  std::span<const std::uint64_t> bounds{};  ///< FamilySpec::bounds
};

[[nodiscard]] std::span<const MetricInfo> catalogue() noexcept;

/// nullptr when the catalogue has no such family.
[[nodiscard]] const MetricInfo* find_metric(std::string_view name) noexcept;

/// Registers the catalogue's family `name` (source registry). Throws std::invalid_argument when there is none.
metric::Family& register_metric(metric::Registry& registry, std::string_view name);

/// Registers all families with source registry, so that each is exported (with no sample) before its first use.
void register_catalogue(metric::Registry& registry);

/// The text of docs/metrics.md.
[[nodiscard]] std::string render_metrics_markdown();

}  // namespace fiberd::observe
