#pragma once
// Exporter: the page that Prometheus scrapes.
#include <prometheus/collectable.h>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "core/metric/registry.hpp"
#include "core/observe/process_stats.hpp"
#include "core/runtime/mem_stats.hpp"

namespace fiberd::observe {

class Exporter final : public prometheus::Collectable {
 public:
  /// `registry` must outlive the exporter; the catalogue's families are registered in it. `mem_stats` is called once
  /// a scrape (runtime statistics are left out when it is empty). `version` is fiberd_build_info's.
  explicit Exporter(metric::Registry& registry, std::function<runtime::MemStats()> mem_stats = {},
                    std::string version = "dev");

  /// All families: registry, runtime, process. Thread-safe; takes locks, so not for a request's hot path.
  /// When /proc cannot be read, the process_* families have no samples and the reason is logged.
  [[nodiscard]] std::vector<prometheus::MetricFamily> Collect() const override;
  /// The same with statistics of the runtime that the caller has; nullptr: without them.
  [[nodiscard]] std::vector<prometheus::MetricFamily> collect(const runtime::MemStats* stats) const;

  /// The page. Thread-safe. Throws std::bad_alloc and what `mem_stats` or a callback throws.
  enum class Format : std::uint8_t { text, openmetrics };
  [[nodiscard]] std::string render(Format format = Format::text) const;
  [[nodiscard]] static std::string_view content_type(Format format) noexcept;

 private:
  std::vector<prometheus::MetricFamily> collect(const runtime::MemStats* stats,
                                                const std::vector<metric::FamilySnapshot>& counted) const;
  metric::Registry& registry_;
  std::function<runtime::MemStats()> mem_stats_;
  std::string version_;
  mutable ProcessStatsReader process_;
};

}  // namespace fiberd::observe
