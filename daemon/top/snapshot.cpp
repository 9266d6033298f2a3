#include "daemon/top/snapshot.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <limits>
#include <map>
#include <system_error>
#include <utility>

#include "core/base/json_writer.hpp"

namespace fiberd::daemon::top {

namespace {

namespace json = boost::json;

const json::value* find(const json::object& in, std::string_view key) noexcept {
  return in.if_contains(json::string_view(key.data(), key.size()));
}

/// 0 for what is not there, or no number: fields come with versions.
double number(const json::value* value) noexcept {
  if (value == nullptr) return 0;
  if (const double* const d = value->if_double()) return *d;
  if (const std::int64_t* const i = value->if_int64()) return static_cast<double>(*i);
  if (const std::uint64_t* const u = value->if_uint64()) return static_cast<double>(*u);
  return 0;
}
double number(const json::object& in, std::string_view key) noexcept { return number(find(in, key)); }

std::string text(const json::object& in, std::string_view key) {
  const json::value* const value = find(in, key);
  const json::string* const s = value != nullptr ? value->if_string() : nullptr;
  return s != nullptr ? std::string(s->data(), s->size()) : std::string();
}

const json::object& object(const json::object& in, std::string_view key) {
  static const json::object nothing;
  const json::value* const value = find(in, key);
  const json::object* const o = value != nullptr ? value->if_object() : nullptr;
  return o != nullptr ? *o : nothing;
}

template <class F>
void each(const json::object& in, std::string_view key, F visit) {
  const json::value* const value = find(in, key);
  if (const json::array* const rows = value != nullptr ? value->if_array() : nullptr)
    for (const json::value& row : *rows) visit(row);
}
template <class F>
void each_object(const json::object& in, std::string_view key, F visit) {
  each(in, key, [&](const json::value& row) {
    if (const json::object* const o = row.if_object()) visit(*o);
  });
}

/// "listener=web reason=busy"
std::string labels(const json::object& row) {
  std::string all;
  for (const auto& [key, value] : row) {
    const json::string* const s = value.if_string();
    if (s == nullptr || key == "what" || key == "metric") continue;
    if (!all.empty()) all += ' ';
    all.append(key.data(), key.size()).append("=").append(s->data(), s->size());
  }
  return all;
}

RouteLine read_route(const json::object& o) {
  RouteLine route{.listener = text(o, "listener"),
                  .route = text(o, "route"),
                  .requests = number(o, "requests"),
                  .in_flight = number(o, "in_flight"),
                  .sent_bytes = number(o, "sent_bytes"),
                  .buckets = {}};
  const json::object& classes = object(o, "classes");
  route.ok = number(classes, "2xx") + number(classes, "3xx");
  route.client_errors = number(classes, "4xx");
  route.server_errors = number(classes, "5xx");
  each(object(o, "latency"), "buckets", [&](const json::value& n) { route.buckets.push_back(number(&n)); });
  return route;
}

bool truth(const json::object& in, std::string_view key) noexcept {
  const json::value* const value = find(in, key);
  const bool* const b = value != nullptr ? value->if_bool() : nullptr;
  return b != nullptr && *b;
}

void read_daemon(const json::object& doc, Snapshot& s) {
  const json::object& configuration = object(doc, "configuration");
  s.now_seconds = number(object(doc, "process"), "now_seconds");
  s.has_reloads = !configuration.empty();
  s.last_reload_successful = number(configuration, "last_reload_successful") != 0;
  s.loaded_seconds = number(configuration, "last_success_seconds");
  const json::object& reloads = object(configuration, "reloads");
  s.reloads_done = number(reloads, "success");
  s.reloads_refused = number(reloads, "failure");
  const json::object& daemon = object(doc, "daemon");
  s.knows_ready = !daemon.empty();
  s.ready = truth(daemon, "ready");
  s.configuration = text(daemon, "configuration");
  each_object(daemon, "listening", [&](const json::object& o) {
    const std::string name = text(o, "listener");
    auto at = std::find_if(s.listeners.begin(), s.listeners.end(),
                           [&](const ListenerLine& line) { return line.name == name; });
    if (at == s.listeners.end()) at = s.listeners.insert(at, ListenerLine{.name = name, .what = {}, .addresses = {}});
    at->what = text(o, "what");
    at->addresses.push_back(text(o, "address"));
  });
  each_object(daemon, "certificates", [&](const json::object& o) {
    s.certificates.push_back({text(o, "listener"), text(o, "file"), number(o, "not_after_seconds")});
  });
}

Snapshot read(const json::object& doc) {
  Snapshot s;
  s.at = number(doc, "monotonic_seconds");
  const json::object& process = object(doc, "process");
  s.version = text(process, "version");
  s.pid = number(process, "pid");
  s.uptime_seconds = number(process, "uptime_seconds");
  s.cpu_seconds = number(process, "cpu_seconds");
  s.resident_bytes = number(process, "resident_bytes");
  s.open_fds = number(process, "open_fds");
  s.max_fds = number(process, "max_fds");
  s.threads = number(process, "threads");
  const json::object& scheduler = object(doc, "scheduler");
  s.switches = number(scheduler, "switches");
  s.steals = number(scheduler, "steals");
  s.handoffs = number(scheduler, "handoffs");
  each_object(scheduler, "processors", [&](const json::object& o) {
    s.processors.push_back(
        {static_cast<std::uint64_t>(number(o, "processor")), number(o, "busy_seconds"), number(o, "queue")});
  });
  const json::object& fibers = object(doc, "fibers");
  s.waiting = number(fibers, "waiting");
  s.runnable = number(fibers, "runnable");
  s.running = number(fibers, "running");
  s.created = number(fibers, "created");
  each_object(fibers, "sites", [&](const json::object& o) {
    s.sites.push_back({text(o, "site"), text(o, "name"), text(o, "oldest_reason"), number(o, "count"),
                       number(o, "waiting"), number(o, "runnable"), number(o, "running"), number(o, "oldest_seconds")});
  });
  const json::object& stacks = object(doc, "stacks");
  s.stacks_in_use = number(stacks, "in_use");
  s.stack_reserved = number(stacks, "reserved_bytes");
  s.stack_resident = number(stacks, "resident_bytes");
  const json::object& stalls = object(doc, "stalls");
  s.computes = number(stalls, "computes");
  s.blocks = number(stalls, "blocks");
  s.robbed = number(stalls, "robbed");
  each_object(doc, "listeners", [&](const json::object& o) {
    s.connections += number(o, "connections");
    s.accepted += number(o, "accepted");
    s.listeners.push_back({text(o, "listener"),
                           {},
                           {},
                           number(o, "connections"),
                           number(o, "active"),
                           number(o, "idle"),
                           number(o, "accepted"),
                           number(o, "refused")});
  });
  read_daemon(doc, s);
  each(doc, "latency_bounds", [&](const json::value& n) { s.latency_bounds.push_back(number(&n)); });
  each_object(doc, "routes", [&](const json::object& o) { s.routes.push_back(read_route(o)); });
  each_object(doc, "refusals", [&](const json::object& o) {
    s.refusals.push_back({text(o, "what"), labels(o), number(o, "count")});
  });
  each_object(doc, "leaks", [&](const json::object& o) {
    if (!text(o, "metric").ends_with("_leaks")) return;
    s.has_leaks = true;
    s.leaks += number(o, "value");
  });
  return s;
}

/// A counter that fell has begun anew.
double rise(double now, double before) noexcept { return std::max(now - before, 0.0); }

std::vector<double> rises(const std::vector<double>& now, const std::vector<double>* before) {
  std::vector<double> all(now);
  if (before != nullptr)
    for (std::size_t i = 0; i < std::min(all.size(), before->size()); ++i) all[i] = rise(all[i], (*before)[i]);
  return all;
}

void put(JsonWriter& out, std::string_view key, const std::optional<double>& value) {
  out.key(key);
  if (value)
    out.value(*value);
  else
    out.value(std::numeric_limits<double>::quiet_NaN());  // null
}

}  // namespace

std::optional<Snapshot> parse_snapshot(std::string_view document, std::string& why) {
  json::error_code error;
  const json::value parsed = json::parse(json::string_view(document.data(), document.size()), error);
  if (error) {
    why = "what it says of itself is no JSON: " + error.message();
    return std::nullopt;
  }
  const json::object* const doc = parsed.if_object();
  if (doc == nullptr || number(*doc, "schema") == 0) {
    why = "what it says of itself is no status of fiberd's";
    return std::nullopt;
  }
  if (number(*doc, "schema") != 1) {
    why = "its status has another schema than this fiberd reads: use the fiberd that belongs to it";
    return std::nullopt;
  }
  return read(*doc);
}

std::optional<double> quantile(const std::vector<double>& counts, const std::vector<double>& bounds, double q) {
  double all = 0;
  for (const double n : counts) all += n;
  if (all <= 0 || bounds.empty()) return std::nullopt;
  double below = 0;
  for (std::size_t i = 0; i < counts.size(); ++i) {
    const double from = i == 0 ? 0 : bounds[std::min(i, bounds.size()) - 1];
    if (counts[i] > 0 && below + counts[i] >= q * all)
      return i < bounds.size() ? from + (bounds[i] - from) * (q * all - below) / counts[i] : from;
    below += counts[i];
  }
  return bounds.back();
}

Rates rates_between(const Snapshot& before, const Snapshot& now) {
  Rates r;
  r.load.resize(now.processors.size());
  r.refusals.resize(now.refusals.size());
  const bool same = before.pid == now.pid && now.at > before.at;
  r.seconds = same ? now.at - before.at : 0;
  const auto rate = [&](double n, double was) { return same ? rise(n, was) / r.seconds : 0; };
  r.cpu = rate(now.cpu_seconds, before.cpu_seconds);
  r.switches = rate(now.switches, before.switches);
  r.steals = rate(now.steals, before.steals);
  r.created = rate(now.created, before.created);
  r.accepted = rate(now.accepted, before.accepted);
  r.stalls = rate(now.computes + now.blocks, before.computes + before.blocks);
  for (std::size_t i = 0; i < now.processors.size(); ++i)
    for (const ProcessorLine& p : before.processors)
      if (p.index == now.processors[i].index)
        r.load[i] = std::min(rate(now.processors[i].busy_seconds, p.busy_seconds), 1.0);
  std::map<std::pair<std::string_view, std::string_view>, const RouteLine*> known;
  for (const RouteLine& route : before.routes) known[{route.listener, route.route}] = &route;
  std::vector<double> all;
  static const RouteLine nothing;
  for (const RouteLine& route : now.routes) {
    const auto at = known.find({route.listener, route.route});
    const RouteLine& was = at != known.end() ? *at->second : nothing;
    const std::vector<double> counts = rises(route.buckets, at != known.end() ? &was.buckets : nullptr);
    RouteRates rates{.route = &route,
                     .requests = rate(route.requests, was.requests),
                     .errors = rate(route.client_errors + route.server_errors, was.client_errors + was.server_errors),
                     .sent_bytes = rate(route.sent_bytes, was.sent_bytes),
                     .p50 = quantile(counts, now.latency_bounds, 0.5),
                     .p90 = quantile(counts, now.latency_bounds, 0.9),
                     .p99 = quantile(counts, now.latency_bounds, 0.99)};
    r.requests += rates.requests;
    r.ok += rate(route.ok, was.ok);
    r.client_errors += rate(route.client_errors, was.client_errors);
    r.server_errors += rate(route.server_errors, was.server_errors);
    r.in_flight += route.in_flight;
    if (all.size() < counts.size()) all.resize(counts.size());
    for (std::size_t i = 0; i < counts.size(); ++i) all[i] += counts[i];
    r.routes.push_back(rates);
  }
  r.p50 = quantile(all, now.latency_bounds, 0.5);
  r.p90 = quantile(all, now.latency_bounds, 0.9);
  r.p99 = quantile(all, now.latency_bounds, 0.99);
  std::map<std::pair<std::string_view, std::string_view>, double> refused;
  for (const RefusalLine& line : before.refusals) refused[{line.what, line.labels}] = line.count;
  for (std::size_t i = 0; i < now.refusals.size(); ++i) {
    const RefusalLine& line = now.refusals[i];
    r.refusals[i] = rate(line.count, refused[{line.what, line.labels}]);
    r.refused += r.refusals[i];
  }
  return r;
}

std::string render_json(const Snapshot& now, const Rates& rates, std::string_view document) {
  JsonWriter out;
  out.begin_object().field("interval_seconds", rates.seconds);
  out.field("cpu", rates.cpu).field("requests_per_second", rates.requests);
  out.field("client_errors_per_second", rates.client_errors);
  out.field("server_errors_per_second", rates.server_errors);
  out.field("in_flight", rates.in_flight);
  put(out, "p50", rates.p50);
  put(out, "p90", rates.p90);
  put(out, "p99", rates.p99);
  out.field("switches_per_second", rates.switches).field("steals_per_second", rates.steals);
  out.field("fibers_created_per_second", rates.created).field("accepted_per_second", rates.accepted);
  out.field("stalls_per_second", rates.stalls).field("refused_per_second", rates.refused);
  out.key("load").begin_array();
  for (const double load : rates.load) out.value(load);
  out.end_array().key("routes").begin_array();
  for (const RouteRates& r : rates.routes) {
    out.begin_object().field("listener", r.route->listener).field("route", r.route->route);
    out.field("requests_per_second", r.requests).field("errors_per_second", r.errors);
    out.field("sent_bytes_per_second", r.sent_bytes);
    put(out, "p50", r.p50);
    put(out, "p90", r.p90);
    put(out, "p99", r.p99);
    out.end_object();
  }
  out.end_array().key("refusals").begin_array();
  for (std::size_t i = 0; i < now.refusals.size(); ++i) {
    out.begin_object().field("what", now.refusals[i].what).field("labels", now.refusals[i].labels);
    out.field("per_second", rates.refusals[i]).end_object();
  }
  out.end_array().end_object();
  std::string text = out.take();
  while (document.ends_with('\n')) document.remove_suffix(1);
  text.back() = ',';
  return text + "\"status\":" + std::string(document) + "}\n";
}

}  // namespace fiberd::daemon::top
