#include "daemon/commands/status.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <thread>

#include "core/base/json_writer.hpp"
#include "daemon/commands/style.hpp"
#include "daemon/top/asker.hpp"
#include "daemon/top/display.hpp"

namespace fiberd::daemon::commands {

namespace {

using top::fit;
using top::ListenerLine;
using top::Rates;
using top::short_bytes;
using top::short_count;
using top::short_seconds;
using top::Snapshot;

/// Of what a daemon tells nothing reaches the terminal that could move its cursor.
std::string harmless(std::string_view text) {
  static constexpr std::size_t kMost = 200;
  const std::string whole = fit(text, kMost);
  return whole.substr(0, whole.find_last_not_of(' ') + 1);
}

/// A second, of a counter of its own.
double rate_of(const ListenerLine& now, const Snapshot& before, double seconds, double ListenerLine::*member) {
  if (seconds <= 0) return 0;
  for (const ListenerLine& was : before.listeners)
    if (was.name == now.name) return std::max(now.*member - was.*member, 0.0) / seconds;
  return now.*member / seconds;
}

/// One that a reload has removed: its counters stay for as long as the process does.
bool is_past(const ListenerLine& listener, const Snapshot& now) {
  return now.knows_ready && listener.addresses.empty() && listener.connections == 0;
}

std::string seconds_of(const std::optional<double>& s, const Snapshot& now) {
  if (!s) return "-";
  if (!now.latency_bounds.empty() && *s <= now.latency_bounds.front())
    return "<" + short_seconds(now.latency_bounds.front());
  return short_seconds(*s);
}

std::string last_reload(const Snapshot& now, const Paint& paint) {
  if (!now.has_reloads) return "unknown: a fiberd of before";
  const std::string loaded = short_seconds(std::max(now.now_seconds - now.loaded_seconds, 0.0)) + " ago";
  const std::string counts =
      " (" + short_count(now.reloads_done) + " done, " + short_count(now.reloads_refused) + " refused)";
  if (now.reloads_done + now.reloads_refused == 0) return "none since the start, " + loaded;
  if (now.last_reload_successful) return paint(Style::good, "done") + ", " + loaded + counts;
  return paint(Style::bad, "refused") + "; what serves was loaded " + loaded + counts;
}

}  // namespace

std::string render_status(const Snapshot& now, const Rates& rates, const Snapshot& before, const Paint& paint) {
  std::string out = paint(Style::strong, "fiberd " + harmless(now.version)) + "  pid " +
                    std::to_string(static_cast<std::int64_t>(now.pid)) + "  up " + short_seconds(now.uptime_seconds) +
                    "  ";
  if (now.knows_ready) out += now.ready ? paint(Style::good, "ready") : paint(Style::bad, "not ready");
  out += "\n\n";
  const auto line = [&](std::string_view name, const std::string& text) { out += fit(name, 15) + text + "\n"; };
  if (!now.configuration.empty()) line("configuration", harmless(now.configuration));
  line("last reload", last_reload(now, paint));
  if (!now.certificates.empty()) {
    const top::CertificateLine& first = now.certificates.front();
    const double left = first.not_after - now.now_seconds;
    line("certificates", "the first to end: " + harmless(first.file) + " of " + harmless(first.listener) +
                             (left > 0 ? ", in " + short_seconds(left) : ", " + paint(Style::bad, "it has ended")));
  }
  line("requests", short_count(rates.requests) + "/s, 4xx " + short_count(rates.client_errors) + "/s, 5xx " +
                       short_count(rates.server_errors) + "/s, " + short_count(rates.in_flight) + " in flight");
  line("latency", "p50 " + seconds_of(rates.p50, now) + ", p90 " + seconds_of(rates.p90, now) + ", p99 " +
                      seconds_of(rates.p99, now));
  line("connections", short_count(now.connections) + ", " + short_count(rates.accepted) + "/s accepted, " +
                          short_count(rates.refused) + "/s refused");
  line("process", "CPU " + short_count(std::round(rates.cpu * 100)) + "%, memory " + short_bytes(now.resident_bytes) +
                      ", descriptors " + short_count(now.open_fds) + " of " + short_count(now.max_fds) + ", fibers " +
                      short_count(now.waiting + now.runnable + now.running));
  std::size_t name = 8;
  std::size_t address = 7;
  for (const ListenerLine& l : now.listeners) {
    name = std::max(name, std::min<std::size_t>(top::display_width(l.name), 20));
    for (const std::string& a : l.addresses) address = std::max(address, std::min<std::size_t>(a.size(), 40));
  }
  out += "\n" +
         paint(Style::strong, fit("LISTENER", name + 1) + fit("ADDRESS", address + 1) + fit("CONNS", 7, true) +
                                  fit("ACTIVE", 7, true) + fit("ACC/S", 7, true) + fit("REF/S", 7, true) + "  WHAT") +
         "\n";
  for (const ListenerLine& l : now.listeners) {
    if (is_past(l, now)) continue;
    out += fit(l.name, name + 1) + fit(l.addresses.empty() ? "-" : l.addresses.front(), address + 1) +
           fit(short_count(l.connections), 7, true) + fit(short_count(l.active), 7, true) +
           fit(short_count(rate_of(l, before, rates.seconds, &ListenerLine::accepted)), 7, true) +
           fit(short_count(rate_of(l, before, rates.seconds, &ListenerLine::refused)), 7, true) + "  " +
           harmless(l.what) + "\n";
    for (std::size_t i = 1; i < l.addresses.size(); ++i)
      out += std::string(name + 1, ' ') + harmless(l.addresses[i]) + "\n";
  }
  return out;
}

std::string render_status_json(const Snapshot& now, const Rates& rates, const Snapshot& before) {
  JsonWriter json;
  const auto put = [&](std::string_view key, const std::optional<double>& value) {
    json.field(key, value.value_or(std::numeric_limits<double>::quiet_NaN()));  // null
  };
  const auto whole = [](double n) { return static_cast<std::int64_t>(n); };
  json.begin_object().field("version", now.version).field("pid", whole(now.pid));
  json.field("uptime_seconds", now.uptime_seconds).field("ready", now.ready);
  json.field("configuration", now.configuration);
  json.key("last_reload").begin_object();
  json.field("successful", now.last_reload_successful).field("loaded_at_seconds", now.loaded_seconds);
  json.field("done", whole(now.reloads_done)).field("refused", whole(now.reloads_refused)).end_object();
  json.key("rates").begin_object().field("interval_seconds", rates.seconds);
  json.field("requests_per_second", rates.requests).field("client_errors_per_second", rates.client_errors);
  json.field("server_errors_per_second", rates.server_errors).field("accepted_per_second", rates.accepted);
  json.field("refused_per_second", rates.refused).field("in_flight", whole(rates.in_flight));
  put("p50_seconds", rates.p50);
  put("p90_seconds", rates.p90);
  put("p99_seconds", rates.p99);
  json.field("cpu", rates.cpu).end_object();
  json.field("connections", whole(now.connections)).field("resident_bytes", whole(now.resident_bytes));
  json.field("open_fds", whole(now.open_fds)).field("max_fds", whole(now.max_fds));
  json.field("fibers", whole(now.waiting + now.runnable + now.running));
  json.key("listeners").begin_array();
  for (const ListenerLine& l : now.listeners) {
    if (is_past(l, now)) continue;
    json.begin_object().field("listener", l.name).field("what", l.what);
    json.key("addresses").begin_array();
    for (const std::string& address : l.addresses) json.value(address);
    json.end_array().field("connections", whole(l.connections)).field("active", whole(l.active));
    json.field("idle", whole(l.idle)).field("accepted", whole(l.accepted)).field("refused", whole(l.refused));
    json.field("accepted_per_second", rate_of(l, before, rates.seconds, &ListenerLine::accepted));
    json.field("refused_per_second", rate_of(l, before, rates.seconds, &ListenerLine::refused)).end_object();
  }
  json.end_array().end_object();
  return json.take() + "\n";
}

int status(const Program& program, const StatusWords& words) {
  const auto admin = find_admin(program, words.admin);
  if (!admin) return code(ExitCode::bad_usage);
  const auto sorry = [](const top::Look& look) {
    std::fprintf(stderr, "status: %s\n", look.why.c_str());
    return code(look.code);
  };
  const top::Asker asker({admin->address, admin->source, admin->token_file});
  const top::Look before = asker.look();
  if (!before.snapshot) return sorry(before);
  std::this_thread::sleep_for(words.interval);
  const top::Look now = asker.look();
  if (!now.snapshot) return sorry(now);
  const top::Rates rates = top::rates_between(*before.snapshot, *now.snapshot);
  const std::string text = words.json ? render_status_json(*now.snapshot, rates, *before.snapshot)
                                      : render_status(*now.snapshot, rates, *before.snapshot, Paint(stdout));
  (void)std::fputs(text.c_str(), stdout);
  return printed();
}

}  // namespace fiberd::daemon::commands
