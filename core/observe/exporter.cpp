#include "core/observe/exporter.hpp"

#include <prometheus/text_serializer.h>

#include <algorithm>
#include <array>
#include <initializer_list>
#include <limits>
#include <locale>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "core/base/bug.hpp"
#include "core/base/characters.hpp"
#include "core/base/log.hpp"
#include "core/context/live_contexts.hpp"
#include "core/observe/catalogue.hpp"
#include "core/observe/openmetrics.hpp"
#include "core/observe/process_stats.hpp"
#include "core/runtime/processor_view.hpp"
#include "core/runtime/spawn_sites.hpp"

namespace fiberd::observe {

namespace {

prometheus::MetricType type_of(metric::Type type) noexcept {
  switch (type) {
    case metric::Type::counter: return prometheus::MetricType::Counter;
    case metric::Type::gauge: return prometheus::MetricType::Gauge;
    case metric::Type::histogram: return prometheus::MetricType::Histogram;
  }
  return prometheus::MetricType::Untyped;
}

/// Fills a Prometheus histogram. `counts` has one element more than `bounds`: what exceeds them all.
void fill_histogram(prometheus::ClientMetric::Histogram& out, std::span<const std::uint64_t> bounds,
                    std::span<const std::uint64_t> counts, double divisor, double sum) {
  std::uint64_t cumulative = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    cumulative += counts[i];
    out.bucket.push_back({cumulative, i < bounds.size() ? static_cast<double>(bounds[i]) / divisor
                                                        : std::numeric_limits<double>::infinity()});
  }
  out.sample_count = cumulative;
  out.sample_sum = sum;
}

/// Collects families whose name, help, type and labels come from the catalogue.
class Page {
 public:
  explicit Page(std::vector<prometheus::MetricFamily>& out) : out_(out) {}

  /// Begins a family; samples follow. A name the catalogue lacks is an error of this file, found by its test.
  Page& family(std::string_view name) {
    info_ = find_metric(name);
    if (info_ == nullptr) throw std::logic_error("observe: '" + std::string(name) + "' is not in the catalogue");
    out_.push_back({std::string(name), std::string(info_->help), type_of(info_->type), {}});
    return *this;
  }
  template <class N>
  Page& sample(N number, std::initializer_list<std::string_view> labels = {}) {
    prometheus::ClientMetric m;
    std::size_t i = 0;
    for (const std::string_view value : labels)
      m.label.push_back({std::string(info_->labels.at(i++)), std::string(value)});
    (info_->type == metric::Type::counter ? m.counter.value : m.gauge.value) = static_cast<double>(number);
    out_.back().metric.push_back(std::move(m));
    return *this;
  }
  void histogram(prometheus::ClientMetric::Histogram histogram, std::initializer_list<std::string_view> labels = {}) {
    prometheus::ClientMetric m;
    std::size_t i = 0;
    for (const std::string_view value : labels)
      m.label.push_back({std::string(info_->labels.at(i++)), std::string(value)});
    m.histogram = std::move(histogram);
    out_.back().metric.push_back(std::move(m));
  }

 private:
  std::vector<prometheus::MetricFamily>& out_;
  const MetricInfo* info_ = nullptr;
};

/// An error as a label: "queue full" is queue_full.
std::string token_of(const std::error_code& error) {
  std::string token = error.message();
  for (char& c : token) {
    c = ascii::is_alnum(c) ? ascii::to_lower(c) : '_';
  }
  return token;
}

void add_scheduler(Page& page, const runtime::MemStats& s) {
  page.family("fiberd_sched_gomaxprocs").sample(s.gomaxprocs);
  page.family("fiberd_sched_processors_idle").sample(s.processors_idle);
  page.family("fiberd_sched_machines").sample(s.machines);
  page.family("fiberd_sched_machines_spare").sample(s.machines_spare);
  page.family("fiberd_sched_sections_blocked").sample(s.sections_blocked);
  page.family("fiberd_sched_sections_retaken_total").sample(s.sections_retaken);
  page.family("fiberd_sched_sections_waited_total").sample(s.sections_waited);
  page.family("fiberd_sched_sections_stalled_total").sample(s.sections_stalled);
  page.family("fiberd_sched_threads_locked").sample(s.threads_locked);
  page.family("fiberd_sched_locks_refused_total").sample(s.locks_refused);
  page.family("fiberd_sched_switches_total").sample(s.switches);
  page.family("fiberd_sched_steals_total").sample(s.steals);
  page.family("fiberd_sched_handoffs_total").sample(s.handoffs);
  page.family("fiberd_sched_budget_yields_total").sample(s.budget_yields);
  page.family("fiberd_sched_parks_total");
  for (std::size_t i = 1; i < s.parks.size(); ++i)  // 0 is WaitReason::none: nobody waits for it
    page.sample(s.parks[i], {runtime::to_string(static_cast<runtime::WaitReason>(i))});
  page.family("fiberd_sched_queue_depth")
      .sample(s.local_queue_depth, {"local"})
      .sample(s.global_queue_depth, {"global"});
  prometheus::ClientMetric::Histogram latency;
  const std::span<const std::uint64_t> bounds(runtime::kLatencyBounds);
  fill_histogram(latency, bounds.first(bounds.size() - 1), s.latency_buckets, 1e9,
                 static_cast<double>(s.latency_sum_ns) / 1e9);
  page.family("fiberd_sched_latency_seconds").histogram(std::move(latency));
  page.family("fiberd_sched_stalls_total")
      .sample(s.stalls_computing, {"computes"})
      .sample(s.stalls_blocking, {"blocks"})
      .sample(s.stalls_robbed, {"robbed"});
  prometheus::ClientMetric::Histogram stalls;
  const std::span<const std::uint64_t> stall_bounds(runtime::kStallBounds);
  fill_histogram(stalls, stall_bounds.first(stall_bounds.size() - 1), s.stall_buckets, 1e9,
                 static_cast<double>(s.stall_sum_ns) / 1e9);
  page.family("fiberd_sched_stall_seconds").histogram(std::move(stalls));
  page.family("fiberd_fibers")
      .sample(s.fibers_runnable, {"runnable"})
      .sample(s.fibers_running, {"running"})
      .sample(s.fibers_waiting, {"waiting"});
  page.family("fiberd_fibers_created_total").sample(s.fibers_created);
  page.family("fiberd_fibers_ended_total").sample(s.fibers_ended);
  page.family("fiberd_fibers_panicked_total").sample(s.fibers_panicked);
  page.family("fiberd_deadlocks_total").sample(s.deadlocks);
  page.family("fiberd_channel_unsent_total").sample(s.channel_unsent);
  page.family("fiberd_fibers_refused_total");
  for (const runtime::SpawnRefusal& r : s.spawn_refusals)
    if (r.count != 0) page.sample(r.count, {token_of(r.reason)});
}

void add_processors(Page& page) {
  page.family("fiberd_sched_processor_busy_seconds_total");
  for (const runtime::ProcessorView& p : runtime::read_processors())
    page.sample(static_cast<double>(p.busy_ns) / 1e9, {std::to_string(p.index)});
}

void add_memory_and_waits(Page& page, const runtime::MemStats& s) {
  const auto of_each_class = [&s](auto&& sample) {
    for (std::size_t i = 0; i < s.stack_classes.size(); ++i)
      sample(fiber::to_string(static_cast<fiber::StackClass>(i)), s.stack_classes[i]);
  };
  using Class = runtime::StackClassStats;
  page.family("fiberd_stacks");
  of_each_class([&page](std::string_view name, const Class& c) {
    page.sample(c.in_use, {name, "in_use"}).sample(c.cached, {name, "cached"});
  });
  page.family("fiberd_stack_size_bytes");
  of_each_class([&page](std::string_view name, const Class& c) { page.sample(c.size, {name}); });
  page.family("fiberd_stack_bytes");
  of_each_class([&page](std::string_view name, const Class& c) {
    page.sample(c.bytes_reserved, {name, "reserved"}).sample(c.bytes_resident, {name, "resident"});
  });
  page.family("fiberd_stack_high_water_bytes");
  of_each_class([&page](std::string_view name, const Class& c) { page.sample(c.high_water, {name}); });
  page.family("fiberd_stacks_unguarded").sample(s.stacks_unguarded);
  page.family("fiberd_stacks_outgrown_total").sample(s.stacks_outgrown);
  page.family("fiberd_stacks_trimmed_total").sample(s.stacks_cooled);
  page.family("fiberd_stack_trimmed_bytes_total").sample(s.stack_bytes_cooled);
  page.family("fiberd_stacks_limit").sample(s.stacks_most);
  page.family("fiberd_stacks_set_aside")
      .sample(s.stacks_reserve_in_use, {"in_use"})
      .sample(s.stacks_reserve - s.stacks_reserve_in_use, {"free"});
  page.family("fiberd_stack_guard_info").sample(1, {fiber::to_string(s.guard_kind)});
  page.family("fiberd_poller_calls_total").sample(s.poll_calls);
  page.family("fiberd_poller_events_total").sample(s.poll_events);
  page.family("fiberd_poller_descriptors").sample(s.poll_descriptors);
  page.family("fiberd_poller_wakeups_total").sample(s.poll_wakeups);
  page.family("fiberd_timers_armed").sample(s.timers_armed);
  page.family("fiberd_timers_fired_total").sample(s.timers_fired);
  page.family("fiberd_blocking_threads").sample(s.blocking_threads);
  page.family("fiberd_blocking_busy").sample(s.blocking_busy);
  page.family("fiberd_blocking_queued").sample(s.blocking_queued);
  page.family("fiberd_blocking_jobs_total").sample(s.blocking_jobs);
}

/// Of the first so many places; all others are one more, so that the number of series is bounded.
constexpr std::size_t kMostSites = 63;

void add_to(runtime::SpawnSiteStats& sum, const runtime::SpawnSiteStats& s) {
  sum.spawned += s.spawned;
  sum.ended += s.ended;
  for (std::size_t i = 0; i < s.latency_buckets.size(); ++i) sum.latency_buckets[i] += s.latency_buckets[i];
  sum.latency_sum_ns += s.latency_sum_ns;
  sum.wakes += s.wakes;
  sum.wakes_by_itself += s.wakes_by_itself;
  sum.long_runs += s.long_runs;
  sum.stack_high_water = std::max(sum.stack_high_water, s.stack_high_water);
  sum.outgrown += s.outgrown;
}

/// For each of so many places a third of the bounds is enough.
constexpr std::size_t kOneIn = 3;
constexpr auto kSiteBounds = [] {
  std::array<std::uint64_t, (runtime::kLatencyBounds.size() + kOneIn - 2) / kOneIn> bounds{};
  for (std::size_t i = 0; i < bounds.size(); ++i) bounds[i] = runtime::kLatencyBounds[i * kOneIn];
  return bounds;
}();
/// Of kSiteBounds, that which what lies below kLatencyBounds[i], and not below the one before, is counted in.
constexpr std::size_t coarse(std::size_t i) noexcept { return (i + kOneIn - 1) / kOneIn; }

void add_spawn_sites(Page& page) {
  std::vector<std::pair<std::string, runtime::SpawnSiteStats>> sites;
  std::optional<runtime::SpawnSiteStats> others;
  for (const runtime::SpawnSiteStats& s : runtime::read_spawn_sites()) {
    if (!s.file.empty() && sites.size() < kMostSites) {
      sites.emplace_back(std::string(s.file) + ":" + std::to_string(s.line), s);
      continue;
    }
    if (!others) others.emplace();
    add_to(*others, s);
  }
  if (others) sites.emplace_back("other", *others);
  const auto each = [&](std::string_view family, auto&& number) {
    page.family(family);
    for (const auto& [site, s] : sites) page.sample(number(s), {site});
  };
  using Site = runtime::SpawnSiteStats;
  each("fiberd_spawn_site_fibers", [](const Site& s) { return s.spawned - s.ended; });
  each("fiberd_spawn_site_spawned_total", [](const Site& s) { return s.spawned; });
  each("fiberd_spawn_site_long_runs_total", [](const Site& s) { return s.long_runs; });
  each("fiberd_spawn_site_stack_high_water_bytes", [](const Site& s) { return s.stack_high_water; });
  each("fiberd_spawn_site_stacks_outgrown_total", [](const Site& s) { return s.outgrown; });
  page.family("fiberd_spawn_site_wakes_sampled_total");
  for (const auto& [site, s] : sites)
    page.sample(s.wakes_by_itself, {site, "itself"})
        .sample(s.wakes - std::min(s.wakes, s.wakes_by_itself), {site, "others"});
  page.family("fiberd_spawn_site_latency_seconds");
  for (const auto& [site, s] : sites) {
    std::array<std::uint64_t, kSiteBounds.size() + 1> counts{};
    for (std::size_t i = 0; i < s.latency_buckets.size(); ++i) counts[coarse(i)] += s.latency_buckets[i];
    prometheus::ClientMetric::Histogram latency;
    fill_histogram(latency, kSiteBounds, counts, 1e9, static_cast<double>(s.latency_sum_ns) / 1e9);
    page.histogram(std::move(latency), {site});
  }
}

void add_process(Page& page, const std::string& version, ProcessStatsReader& process) {
  page.family("fiberd_bugs_total").sample(bug_count());
  page.family("fiberd_contexts").sample(context::live_count());
  page.family("fiberd_contexts_never_canceled_total").sample(context::never_canceled_count());
  page.family("fiberd_build_info").sample(1, {version, __VERSION__});
  const Result<ProcessStats> stats = process.read();
  if (!stats) log(LogLevel::warning, "metrics: /proc cannot be read: " + stats.error().message());
  const auto add = [&](std::string_view name, auto ProcessStats::*member) {
    page.family(name);
    if (stats) page.sample((*stats).*member);
  };
  add("process_cpu_seconds_total", &ProcessStats::cpu_seconds);
  add("process_resident_memory_bytes", &ProcessStats::resident_bytes);
  add("process_virtual_memory_bytes", &ProcessStats::virtual_bytes);
  add("process_open_fds", &ProcessStats::open_fds);
  add("process_max_fds", &ProcessStats::max_fds);
  add("process_threads", &ProcessStats::threads);
  add("process_start_time_seconds", &ProcessStats::start_time_seconds);
}

prometheus::MetricFamily convert(const metric::FamilySnapshot& family) {
  const metric::FamilySpec& spec = family.spec;
  prometheus::MetricFamily out{spec.name, spec.help, type_of(spec.type), {}};
  out.metric.reserve(family.samples.size());
  for (const metric::Sample& sample : family.samples) {
    prometheus::ClientMetric& m = out.metric.emplace_back();
    for (std::size_t i = 0; i < spec.labels.size(); ++i) m.label.push_back({spec.labels[i], sample.labels[i]});
    switch (spec.type) {
      case metric::Type::counter: m.counter.value = sample.value; break;
      case metric::Type::gauge: m.gauge.value = sample.value; break;
      case metric::Type::histogram:
        fill_histogram(m.histogram, spec.bounds, sample.buckets, spec.divisor, sample.sum);
        break;
    }
  }
  return out;
}

}  // namespace

Exporter::Exporter(metric::Registry& registry, std::function<runtime::MemStats()> mem_stats, std::string version)
    : registry_(registry), mem_stats_(std::move(mem_stats)), version_(std::move(version)) {
  register_catalogue(registry_);
}

std::vector<prometheus::MetricFamily> Exporter::Collect() const {
  if (!mem_stats_) return collect(nullptr);
  const runtime::MemStats stats = mem_stats_();
  return collect(&stats);
}

std::vector<prometheus::MetricFamily> Exporter::collect(const runtime::MemStats* stats) const {
  return collect(stats, registry_.snapshot());
}

std::vector<prometheus::MetricFamily> Exporter::collect(const runtime::MemStats* stats,
                                                        const std::vector<metric::FamilySnapshot>& counted) const {
  std::vector<prometheus::MetricFamily> out;
  Page page(out);
  if (stats != nullptr) {
    add_scheduler(page, *stats);
    add_processors(page);
    add_memory_and_waits(page, *stats);
    add_spawn_sites(page);
  }
  for (const metric::FamilySnapshot& family : counted) out.push_back(convert(family));
  add_process(page, version_, process_);
  return out;
}

std::string Exporter::render(Format format) const {
  std::optional<runtime::MemStats> stats;
  if (mem_stats_) stats.emplace(mem_stats_());
  const std::vector<metric::FamilySnapshot> counted = registry_.snapshot();
  const std::vector<prometheus::MetricFamily> families = collect(stats ? &*stats : nullptr, counted);
  if (format == Format::openmetrics) return render_openmetrics(families, counted);
  std::ostringstream text;
  text.imbue(std::locale::classic());
  prometheus::TextSerializer().Serialize(text, families);
  return std::move(text).str();
}

std::string_view Exporter::content_type(Format format) noexcept {
  return format == Format::openmetrics ? kOpenMetricsType : "text/plain; version=0.0.4; charset=utf-8";
}

}  // namespace fiberd::observe
