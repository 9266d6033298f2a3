#pragma once
// Series as a scraper finds them in a registry, and the families that a status is counted in.
#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/metric/registry.hpp"
#include "core/metric/status_counters.hpp"

namespace fiberd::test {

/// Nothing when the series is not shown.
inline std::optional<double> value(const metric::Registry& registry, std::string_view name,
                                   const std::vector<std::string>& labels) {
  for (const metric::FamilySnapshot& family : registry.snapshot())
    if (family.spec.name == name)
      for (const metric::Sample& sample : family.samples)
        if (sample.labels == labels) return sample.value;
  return {};
}

inline constexpr std::array<std::string_view, 3> kMethods{"other", "GET", "POST"};

inline metric::StatusFamilies status_families(metric::Registry& registry) {
  using metric::Type;
  const std::vector<std::string> labels{"listener", "route"};
  const std::vector<std::string> more{"listener", "route", "method", "code"};
  (void)registry.family({.name = "r_total", .help = "h", .labels = more, .counts_of = "d_seconds"});
  return {.durations = registry.family({.name = "d_seconds", .help = "h", .type = Type::histogram, .labels = more}),
          .received = registry.family({.name = "in_total", .help = "h", .labels = labels}),
          .sent = registry.family({.name = "out_total", .help = "h", .labels = labels}),
          .in_flight = registry.family({.name = "in_flight", .help = "h", .type = Type::gauge, .labels = labels})};
}

}  // namespace fiberd::test
