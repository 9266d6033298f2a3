#include "core/observe/catalogue.hpp"

#include <algorithm>
#include <array>
#include <stdexcept>

#include "core/observe/catalogue_runtime.hpp"
#include "core/observe/catalogue_serving.hpp"

namespace fiberd::observe {

namespace {

constexpr auto kCatalogue = [] {
  std::array<MetricInfo, std::size(detail::kRuntimeRows) + std::size(detail::kServingRows)> all{};
  const auto* const end = std::copy(std::begin(detail::kRuntimeRows), std::end(detail::kRuntimeRows), all.begin());
  std::copy(std::begin(detail::kServingRows), std::end(detail::kServingRows), all.begin() + (end - all.begin()));
  return all;
}();

}  // namespace

std::span<const MetricInfo> catalogue() noexcept { return kCatalogue; }

const MetricInfo* find_metric(std::string_view name) noexcept {
  const auto found = std::ranges::find(catalogue(), name, &MetricInfo::name);
  return found == catalogue().end() ? nullptr : &*found;
}

metric::Family& register_metric(metric::Registry& registry, std::string_view name) {
  const MetricInfo* info = find_metric(name);
  if (info == nullptr || info->source != Source::registry)
    throw std::invalid_argument("observe: the catalogue has no family '" + std::string(name) + "' to register");
  metric::FamilySpec spec{
      .name = std::string(name), .help = std::string(info->help), .type = info->type, .max_series = info->max_series};
  spec.counts_of = info->counts_of;
  spec.bounds.assign(info->bounds.begin(), info->bounds.end());
  for (const std::string_view label : info->labels)
    if (!label.empty()) spec.labels.emplace_back(label);
  return registry.family(spec);
}

void register_catalogue(metric::Registry& registry) {
  for (const MetricInfo& info : catalogue())
    if (info.source == Source::registry) register_metric(registry, info.name);
}

std::string render_metrics_markdown() {
  std::string out =
      "# Metrics\n\n"
      "Served as `/metrics` on the admin listener: in OpenMetrics 1.0 to who asks for it, as Prometheus does, else in\n"
      "Prometheus' text format 0.0.4 (docs/operations.md says what differs). This page is generated from\n"
      "core/observe/catalogue.hpp; a test holds it against the code. Durations are seconds, sizes bytes. Label values\n"
      "are bounded: of one over 128 bytes the first 111, a `~` and 16 digits of a hash of the whole are shown (the "
      "same\n"
      "in every process), so long routes that begin alike stay apart. Beyond a family's limit (1,000 series unless\n"
      "noted), and for values that are not UTF-8, samples go to the series whose labels read `other`, and\n"
      "`fiberd_metric_series_refused_total` counts them.\n\n"
      "| name | type | labels | unit | meaning |\n|---|---|---|---|---|\n";
  for (const MetricInfo& info : catalogue()) {
    std::string labels;
    for (const std::string_view label : info.labels)
      if (!label.empty()) labels.append(labels.empty() ? "`" : ", `").append(label).append("`");
    out.append("| `").append(info.name).append("` | ").append(metric::to_string(info.type)).append(" | ");
    out.append(labels).append(" | ").append(info.unit).append(" | ").append(info.help);
    if (info.source == Source::registry && info.max_series != 1'000)
      out.append(" At most ").append(std::to_string(info.max_series)).append(" series.");
    out.append(" |\n");
  }
  return out;
}

}  // namespace fiberd::observe
