#include "core/observe/status_document.hpp"

#include <prometheus/metric_family.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <optional>
#include <string_view>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/json_writer.hpp"
#include "core/observe/context_report.hpp"
#include "core/runtime/processor_view.hpp"

namespace fiberd::observe {

namespace {

using Family = prometheus::MetricFamily;
using Sample = prometheus::ClientMetric;

double number_of(const Family& family, const Sample& sample) noexcept {
  return family.type == prometheus::MetricType::Counter ? sample.counter.value : sample.gauge.value;
}

std::string_view label(const Sample& sample, std::string_view name) noexcept {
  for (const prometheus::ClientMetric::Label& l : sample.label)
    if (l.name == name) return l.value;
  return {};
}

/// What was collected, by name.
class Families {
 public:
  explicit Families(const std::vector<Family>& all) : all_(all) {}
  [[nodiscard]] const Family* find(std::string_view name) const noexcept {
    const auto at = std::ranges::find(all_, name, [](const Family& f) { return std::string_view(f.name); });
    return at == all_.end() ? nullptr : &*at;
  }
  /// Of the first sample, or of the one whose only label that matters has this value.
  [[nodiscard]] std::optional<double> value(std::string_view name, std::string_view with = {}) const noexcept {
    const Family* const family = find(name);
    if (family == nullptr) return std::nullopt;
    for (const Sample& s : family->metric)
      if (with.empty() || std::ranges::any_of(s.label, [&](const auto& l) { return l.value == with; }))
        return number_of(*family, s);
    return std::nullopt;
  }
  template <class F>
  void each(std::string_view name, F visit) const {
    if (const Family* const family = find(name))
      for (const Sample& s : family->metric) visit(s, number_of(*family, s));
  }
  [[nodiscard]] const std::vector<Family>& all() const noexcept { return all_; }

 private:
  const std::vector<Family>& all_;
};

/// Counts are whole: 3 rather than 3e0, and exact up to 2^53.
void put(JsonWriter& json, std::string_view key, double value) {
  static constexpr double kExact = 9'007'199'254'740'992.0;
  if (value == std::trunc(value) && std::abs(value) < kExact)
    json.field(key, static_cast<std::int64_t>(value));
  else
    json.field(key, value);
}
/// Nothing where it is not known.
void put(JsonWriter& json, std::string_view key, const std::optional<double>& value) {
  if (value) put(json, key, *value);
}
void put_seconds(JsonWriter& json, std::string_view key, std::int64_t ns) {
  json.field(key, std::round(static_cast<double>(ns) / 1e6) / 1e3);
}

/// As Prometheus' histogram_quantile: within a bucket the observations are taken to lie evenly, and what is beyond the
/// last bound is at it. NaN without observations.
double quantile(const Sample& s, double q) noexcept {
  const auto& h = s.histogram;
  if (h.sample_count == 0) return std::numeric_limits<double>::quiet_NaN();
  const double rank = q * static_cast<double>(h.sample_count);
  double below = 0;
  double bound = 0;
  for (const auto& bucket : h.bucket) {
    const auto count = static_cast<double>(bucket.cumulative_count);
    if (count >= rank && count > below) {
      if (std::isinf(bucket.upper_bound)) return bound;
      return bound + (bucket.upper_bound - bound) * (rank - below) / (count - below);
    }
    below = count;
    bound = bucket.upper_bound;
  }
  return bound;
}

/// Of the same bounds.
void add_histogram(Sample& sum, const Sample& s) {
  if (sum.histogram.bucket.empty()) {
    sum.histogram = s.histogram;
    return;
  }
  sum.histogram.sample_count += s.histogram.sample_count;
  sum.histogram.sample_sum += s.histogram.sample_sum;
  for (std::size_t i = 0; i < sum.histogram.bucket.size(); ++i)
    sum.histogram.bucket[i].cumulative_count += s.histogram.bucket[i].cumulative_count;
}

/// "latency": of all time; whoever wants that of an interval takes the differences of `buckets`.
void put_histogram(JsonWriter& json, std::string_view key, const Sample& s) {
  json.key(key).begin_object().field("count", s.histogram.sample_count).field("sum_seconds", s.histogram.sample_sum);
  json.field("p50", quantile(s, 0.5)).field("p90", quantile(s, 0.9)).field("p99", quantile(s, 0.99));
  json.key("buckets").begin_array();
  std::uint64_t before = 0;
  for (const auto& bucket : s.histogram.bucket) {
    json.value(bucket.cumulative_count - before);
    before = bucket.cumulative_count;
  }
  json.end_array().end_object();
}
void put_bounds(JsonWriter& json, std::string_view key, const Sample& s) {
  json.key(key).begin_array();
  for (const auto& bucket : s.histogram.bucket)
    if (!std::isinf(bucket.upper_bound)) json.value(bucket.upper_bound);
  json.end_array();
}

void put_labels(JsonWriter& json, const Sample& s) {
  for (const prometheus::ClientMetric::Label& l : s.label)
    if (!l.value.empty()) json.field(l.name, l.value);
}

// ---------------------------------------------------------------------------------------------- parts

void write_process(JsonWriter& json, const Families& all, const std::string& version) {
  json.key("process").begin_object().field("version", version).field("pid", static_cast<std::int64_t>(::getpid()));
  const double now = std::chrono::duration<double>(wall_now().time_since_epoch()).count();
  put(json, "now_seconds", now);
  const std::optional<double> start = all.value("process_start_time_seconds");
  put(json, "start_time_seconds", start);
  if (start) put(json, "uptime_seconds", std::max(now - *start, 0.0));
  put(json, "cpu_seconds", all.value("process_cpu_seconds_total"));
  put(json, "resident_bytes", all.value("process_resident_memory_bytes"));
  put(json, "virtual_bytes", all.value("process_virtual_memory_bytes"));
  put(json, "open_fds", all.value("process_open_fds"));
  put(json, "max_fds", all.value("process_max_fds"));
  put(json, "threads", all.value("process_threads"));
  put(json, "bugs", all.value("fiberd_bugs_total"));
  json.end_object();
}

void write_scheduler(JsonWriter& json, const Families& all) {
  json.key("scheduler").begin_object();
  put(json, "gomaxprocs", all.value("fiberd_sched_gomaxprocs"));
  put(json, "processors_idle", all.value("fiberd_sched_processors_idle"));
  put(json, "machines", all.value("fiberd_sched_machines"));
  put(json, "machines_spare", all.value("fiberd_sched_machines_spare"));
  put(json, "switches", all.value("fiberd_sched_switches_total"));
  put(json, "steals", all.value("fiberd_sched_steals_total"));
  put(json, "handoffs", all.value("fiberd_sched_handoffs_total"));
  put(json, "budget_yields", all.value("fiberd_sched_budget_yields_total"));
  put(json, "queue_local", all.value("fiberd_sched_queue_depth", "local"));
  put(json, "queue_global", all.value("fiberd_sched_queue_depth", "global"));
  put(json, "blocking_busy", all.value("fiberd_blocking_busy"));
  put(json, "blocking_queued", all.value("fiberd_blocking_queued"));
  if (const Family* const latency = all.find("fiberd_sched_latency_seconds"); latency && !latency->metric.empty()) {
    put_bounds(json, "latency_bounds", latency->metric.front());
    put_histogram(json, "latency", latency->metric.front());
  }
  json.key("processors").begin_array();
  std::size_t told = 0;
  for (const runtime::ProcessorView& p : runtime::read_processors()) {
    if (told++ == StatusReader::kMostProcessors) break;
    json.begin_object().field("processor", p.index).field("state", p.state);
    json.field("busy_seconds", static_cast<double>(p.busy_ns) / 1e9);
    json.field("queue", p.queued).field("pinned", p.pinned).field("switches", p.switches).field("steals", p.steals);
    json.field("timers", p.timers).field("descriptors", p.descriptors).end_object();
  }
  json.end_array().end_object();
}

void write_fibers(JsonWriter& json, const Families& all, const FiberCensus& census, std::int64_t age) {
  json.key("fibers").begin_object();
  for (const std::string_view state : {"runnable", "running", "waiting"})
    put(json, state, all.value("fiberd_fibers", state));
  put(json, "created", all.value("fiberd_fibers_created_total"));
  put(json, "ended", all.value("fiberd_fibers_ended_total"));
  put(json, "panicked", all.value("fiberd_fibers_panicked_total"));
  put(json, "deadlocks", all.value("fiberd_deadlocks_total"));
  put_seconds(json, "counted_seconds_ago", age);
  json.key("reasons").begin_array();
  for (const auto& [reason, counted] : census.reasons) {
    json.begin_object().field("reason", reason).field("count", counted.count);
    put_seconds(json, "oldest_seconds", counted.oldest_ns + age);
    json.end_object();
  }
  json.end_array().key("sites").begin_array();
  // The most, and the oldest: one fiber that is stuck stands behind many that are well.
  std::vector<const FiberCensus::Site*> sites;
  sites.reserve(census.sites.size());
  for (const FiberCensus::Site& s : census.sites) sites.push_back(&s);
  if (sites.size() > StatusReader::kMostSites)
    std::stable_sort(sites.begin() + StatusReader::kMostSites / 2, sites.end(),
                     [](const auto* a, const auto* b) { return a->oldest_ns > b->oldest_ns; });
  std::uint64_t others = census.elsewhere;
  for (std::size_t i = 0; i < sites.size(); ++i) {
    const FiberCensus::Site& s = *sites[i];
    if (i >= StatusReader::kMostSites) {
      others += s.count();
      continue;
    }
    json.begin_object().field("site", std::string(s.file) + ":" + std::to_string(s.line)).field("name", s.name);
    json.field("names", s.names).field("count", s.count());
    json.field("runnable", s.runnable).field("running", s.running).field("waiting", s.waiting);
    if (s.waiting != 0) {
      json.field("reason", s.reason).field("oldest_reason", s.oldest_reason.empty() ? s.reason : s.oldest_reason);
      put_seconds(json, "oldest_seconds", s.oldest_ns + age);
    }
    json.end_object();
  }
  json.end_array().field("others", others).end_object();
}

void write_stacks(JsonWriter& json, const Families& all, std::int64_t age) {
  json.key("stacks").begin_object();
  std::map<std::string_view, double> sums;
  all.each("fiberd_stacks", [&](const Sample& s, double n) { sums[label(s, "state")] += n; });
  all.each("fiberd_stack_bytes", [&](const Sample& s, double n) {
    sums[label(s, "kind") == "reserved" ? "reserved_bytes" : "resident_bytes"] += n;
  });
  for (const auto& [name, sum] : sums) put(json, name, sum);
  put(json, "limit", all.value("fiberd_stacks_limit"));
  put(json, "unguarded", all.value("fiberd_stacks_unguarded"));
  put_seconds(json, "measured_seconds_ago", age);
  json.key("high_water_bytes").begin_object();
  all.each("fiberd_stack_high_water_bytes", [&](const Sample& s, double n) { put(json, label(s, "class"), n); });
  json.end_object().end_object();
}

void write_stalls(JsonWriter& json, const Families& all) {
  json.key("stalls").begin_object();
  all.each("fiberd_sched_stalls_total", [&](const Sample& s, double n) { put(json, label(s, "kind"), n); });
  if (const Family* const seconds = all.find("fiberd_sched_stall_seconds"); seconds && !seconds->metric.empty()) {
    put_bounds(json, "bounds", seconds->metric.front());
    put_histogram(json, "lasted", seconds->metric.front());
  }
  json.end_object();
}

void write_listeners(JsonWriter& json, const Families& all) {
  struct Listener {
    double connections = 0, active = 0, idle = 0, accepted = 0, accept_errors = 0, refused = 0;
  };
  std::map<std::string_view, Listener> listeners;
  const auto read = [&](std::string_view family, double Listener::*member) {
    all.each(family, [&](const Sample& s, double n) { listeners[label(s, "listener")].*member += n; });
  };
  read("fiberd_listener_connections", &Listener::connections);
  read("fiberd_listener_connections_active", &Listener::active);
  read("fiberd_listener_connections_idle", &Listener::idle);
  read("fiberd_listener_accepted_total", &Listener::accepted);
  read("fiberd_listener_accept_errors_total", &Listener::accept_errors);
  read("fiberd_listener_refused_total", &Listener::refused);
  json.key("listeners").begin_array();
  std::size_t told = 0;
  for (const auto& [name, l] : listeners) {
    if (told++ == StatusReader::kMostListeners) break;
    json.begin_object().field("listener", name);
    put(json, "connections", l.connections);
    put(json, "active", l.active);
    put(json, "idle", l.idle);
    put(json, "accepted", l.accepted);
    put(json, "accept_errors", l.accept_errors);
    put(json, "refused", l.refused);
    json.end_object();
  }
  json.end_array();
  if (told > StatusReader::kMostListeners)
    json.field("listeners_left_out", listeners.size() - StatusReader::kMostListeners);
}

void write_routes(JsonWriter& json, const Families& all) {
  struct Route {
    std::array<double, 6> classes{};  // [1] is 1xx … [5] 5xx; [0]: other
    double requests = 0, in_flight = 0, received = 0, sent = 0;
    Sample latency;  // the sum over its methods and codes
  };
  std::map<std::pair<std::string_view, std::string_view>, Route> routes;
  const auto of = [&](const Sample& s) -> Route& { return routes[{label(s, "listener"), label(s, "route")}]; };
  all.each("fiberd_http_requests_total", [&](const Sample& s, double n) {
    Route& r = of(s);
    const std::string_view code = label(s, "code");
    const unsigned digit = code.empty() ? 0 : static_cast<unsigned>(code.front()) - '0';
    r.classes[digit < r.classes.size() ? digit : 0] += n;
    r.requests += n;
  });
  all.each("fiberd_http_requests_in_flight", [&](const Sample& s, double n) { of(s).in_flight += n; });
  all.each("fiberd_http_received_bytes_total", [&](const Sample& s, double n) { of(s).received += n; });
  all.each("fiberd_http_sent_bytes_total", [&](const Sample& s, double n) { of(s).sent += n; });
  const Sample* any = nullptr;
  if (const Family* const latency = all.find("fiberd_http_request_duration_seconds"))
    for (const Sample& s : latency->metric) {
      add_histogram(of(s).latency, s);
      any = &s;
    }
  std::vector<std::pair<std::pair<std::string_view, std::string_view>, const Route*>> sorted;
  sorted.reserve(routes.size());
  for (const auto& [name, route] : routes) sorted.emplace_back(name, &route);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto& a, const auto& b) { return a.second->requests > b.second->requests; });
  if (any != nullptr) put_bounds(json, "latency_bounds", *any);
  json.key("routes").begin_array();
  for (std::size_t i = 0; i < std::min(sorted.size(), StatusReader::kMostRoutes); ++i) {
    const auto& [name, r] = sorted[i];
    json.begin_object().field("listener", name.first).field("route", name.second);
    put(json, "requests", r->requests);
    put(json, "in_flight", r->in_flight);
    put(json, "received_bytes", r->received);
    put(json, "sent_bytes", r->sent);
    json.key("classes").begin_object();
    static constexpr std::array<std::string_view, 6> kClasses{"other", "1xx", "2xx", "3xx", "4xx", "5xx"};
    for (std::size_t c = 1; c < kClasses.size(); ++c) put(json, kClasses[c], r->classes[c]);
    if (r->classes[0] != 0) put(json, kClasses[0], r->classes[0]);
    json.end_object();
    if (!r->latency.histogram.bucket.empty()) put_histogram(json, "latency", r->latency);
    json.end_object();
  }
  json.end_array();
  if (sorted.size() > StatusReader::kMostRoutes)
    json.field("routes_left_out", sorted.size() - StatusReader::kMostRoutes);
}

/// All counters of refusals there are, those that come later too: what is shed is told by such a name.
void write_refusals(JsonWriter& json, const Families& all) {
  struct Refusal {
    std::string_view what;
    const Sample* sample;
    double count;
  };
  static constexpr std::string_view kPrefix = "fiberd_";
  static constexpr std::string_view kSuffix = "_total";
  std::vector<Refusal> refusals;
  for (const Family& family : all.all()) {
    std::string_view name = family.name;
    if (family.type != prometheus::MetricType::Counter || !name.starts_with(kPrefix) || !name.ends_with(kSuffix))
      continue;
    if (name.find("_refused") == std::string_view::npos && name.find("_shed") == std::string_view::npos) continue;
    name = name.substr(kPrefix.size(), name.size() - kPrefix.size() - kSuffix.size());
    for (const Sample& s : family.metric)
      if (s.counter.value != 0) refusals.push_back({name, &s, s.counter.value});
  }
  std::stable_sort(refusals.begin(), refusals.end(), [](const auto& a, const auto& b) { return a.count > b.count; });
  json.key("refusals").begin_array();
  for (std::size_t i = 0; i < std::min(refusals.size(), StatusReader::kMostRefusals); ++i) {
    json.begin_object().field("what", refusals[i].what);
    put_labels(json, *refusals[i].sample);
    put(json, "count", refusals[i].count);
    json.end_object();
  }
  json.end_array();
  if (refusals.size() > StatusReader::kMostRefusals)
    json.field("refusals_left_out", refusals.size() - StatusReader::kMostRefusals);
}

void write_contexts(JsonWriter& json, const Families& all) {
  json.key("contexts").begin_object();
  put(json, "alive", all.value("fiberd_contexts"));
  put(json, "never_canceled", all.value("fiberd_contexts_never_canceled_total"));
  json.key("places").begin_array();
  for (const ContextPlace& p : context_places(StatusReader::kMostPlaces)) {
    json.begin_object().field("place", p.place).field("alive", p.alive).field("done", p.done);
    json.field("children", p.children);
    put_seconds(json, "oldest_seconds", p.oldest_ns);
    json.end_object();
  }
  json.end_array().end_object();
}

/// Families with `part` in their name, as they are; nothing where there are none.
void write_families(JsonWriter& json, const Families& all, std::string_view key, std::string_view part) {
  std::size_t told = 0;
  for (const Family& family : all.all()) {
    if (family.name.find(part) == std::string::npos) continue;
    if (family.type == prometheus::MetricType::Histogram) continue;
    for (const Sample& s : family.metric) {
      if (told == StatusReader::kMostSamples) break;
      if (told++ == 0) json.key(key).begin_array();
      json.begin_object().field("metric", family.name);
      put_labels(json, s);
      put(json, "value", number_of(family, s));
      json.end_object();
    }
  }
  if (told != 0) json.end_array();
}

/// What reloads came to; nothing where there are none.
void write_configuration(JsonWriter& json, const Families& all) {
  if (all.find("fiberd_config_last_reload_successful") == nullptr) return;
  json.key("configuration").begin_object();
  put(json, "last_reload_successful", all.value("fiberd_config_last_reload_successful"));
  put(json, "last_success_seconds", all.value("fiberd_config_last_reload_success_timestamp_seconds"));
  json.key("reloads").begin_object();
  all.each("fiberd_config_reloads_total", [&](const Sample& s, double n) { put(json, label(s, "result"), n); });
  json.end_object().end_object();
}

}  // namespace

StatusReader::StatusReader(const Exporter& exporter, std::function<runtime::MemStats(bool)> mem_stats,
                           std::string version, std::function<void(JsonWriter&)> more)
    : exporter_(exporter), mem_stats_(std::move(mem_stats)), version_(std::move(version)), more_(std::move(more)) {}

bool StatusReader::Turn::due(std::int64_t now) const noexcept {
  static constexpr std::int64_t kPatience = 20;
  return at == 0 || now - at >= took * kPatience;
}

void StatusReader::look_at_fibers() {
  const std::int64_t began = monotonic_now();
  if (!counted_.due(began)) return;
  census_ = take_fiber_census();
  counted_ = {began, monotonic_now() - began};
}

runtime::MemStats StatusReader::look_at_stacks() {
  const std::int64_t began = monotonic_now();
  if (measured_.due(began)) {
    stacks_ = mem_stats_(true);
    measured_ = {began, monotonic_now() - began};
    return stacks_;
  }
  runtime::MemStats stats = mem_stats_(false);
  stats.stack_bytes_resident = stacks_.stack_bytes_resident;
  stats.stack_high_water = stacks_.stack_high_water;
  for (std::size_t i = 0; i < stats.stack_classes.size(); ++i) {
    stats.stack_classes[i].bytes_resident = stacks_.stack_classes[i].bytes_resident;
    stats.stack_classes[i].high_water = stacks_.stack_classes[i].high_water;
  }
  return stats;
}

std::string StatusReader::render() {
  look_at_fibers();
  const runtime::MemStats stats = look_at_stacks();
  const std::vector<Family> collected = exporter_.collect(&stats);
  const Families all(collected);
  const std::int64_t now = monotonic_now();
  JsonWriter json;
  json.begin_object().field("schema", kSchema).field("monotonic_seconds", static_cast<double>(now) / 1e9);
  write_process(json, all, version_);
  write_scheduler(json, all);
  write_fibers(json, all, census_, now - counted_.at);
  write_stacks(json, all, now - measured_.at);
  write_stalls(json, all);
  write_listeners(json, all);
  write_routes(json, all);
  write_refusals(json, all);
  write_contexts(json, all);
  write_families(json, all, "leaks", "_leak");
  write_families(json, all, "memory", "fiberd_memory_");
  write_configuration(json, all);
  if (more_) more_(json);
  json.end_object();
  return json.take() + "\n";
}

}  // namespace fiberd::observe
