#include "core/observe/leak_report.hpp"

#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <functional>
#include <map>
#include <tuple>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/defer.hpp"
#include "core/base/json.hpp"
#include "core/base/log.hpp"
#include "core/base/printable.hpp"
#include "core/observe/pprof_profile.hpp"
#include "core/observe/symbol_names.hpp"
#include "core/runtime/fiber_text.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::observe {

using runtime::age_text;
using runtime::hex_text;
using runtime::Symbols;

namespace {

constexpr std::size_t kMostBefore = 16;
constexpr std::size_t kMostTold = 1'000;
constexpr std::size_t kMostText = 500;                 // of what a fiber waits for, and why
constexpr std::chrono::milliseconds kBetweenTwo{100};  // looks that are to agree

std::string site_of(const StuckFiber& f) {
  return std::string(f.origin.where.file_name()) + ":" + std::to_string(f.origin.where.line());
}

using Key = std::tuple<std::string, runtime::WaitReason, std::vector<std::uintptr_t>>;

Key key_of(const LeakGroup& g) { return {g.site, g.reason, g.stack}; }

std::size_t hash_of(const LeakGroup& g) {
  std::size_t hash = std::hash<std::string>()(g.site) * 31 + static_cast<std::size_t>(g.reason);
  for (const std::uintptr_t frame : g.stack) hash = hash * 1'000'003 + frame;
  return hash * 2 + (g.certain ? 1 : 0);
}

bool ignored(const std::vector<std::string>& names, std::string_view name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

/// Groups what one look found. `before`: the report to compare with, or nullptr.
LeakReport report_of(LeakLook look, const LeakOptions& options, const LeakReport* before) {
  LeakReport report;
  report.at = monotonic_now();
  report.threshold = options.threshold;
  report.took = look.took;
  report.waiting = look.looked_at;
  report.bytes_searched = look.bytes_searched;
  report.not_searched = std::move(look.not_searched);
  std::map<std::pair<bool, Key>, std::size_t> at;
  for (StuckFiber& f : look.fibers) {
    if (ignored(options.ignore, f.origin.name)) continue;
    ++(f.certain ? report.certain : report.suspect);
    const std::pair<bool, Key> key{f.certain, Key{site_of(f), f.reason, f.stack}};
    auto known = at.find(key);
    if (known == at.end()) {
      if (report.groups.size() == LeakReport::kMostGroups) {
        ++report.others;
        continue;
      }
      known = at.emplace(key, report.groups.size()).first;
      report.groups.push_back({.certain = f.certain,
                               .site = std::get<0>(key.second),
                               .name = std::string(f.origin.name),
                               .reason = f.reason,
                               .oldest = INT64_MAX,
                               .stack = std::move(f.stack)});
    }
    LeakGroup& group = report.groups[known->second];
    ++group.count;
    group.names = group.names || group.name != f.origin.name;
    if (f.parked_at >= group.oldest) continue;
    group.oldest = f.parked_at;
    group.waits_for = in_one_line(f.waits_for).substr(0, kMostText);
    group.why = in_one_line(f.why).substr(0, kMostText);
  }
  if (before != nullptr) {
    std::map<Key, std::vector<std::size_t>> counts;
    for (const LeakGroup& g : before->groups) {
      // A place whose fibers were suspects and are certain now has not grown by that.
      std::vector<std::size_t>& all = counts[key_of(g)];
      std::vector<std::size_t> own = g.before;
      own.push_back(g.count);
      if (own.size() > all.size()) all.insert(all.begin(), own.size() - all.size(), 0);
      for (std::size_t i = 0; i < own.size(); ++i) all[all.size() - own.size() + i] += own[i];
    }
    std::map<Key, std::size_t> now;
    for (const LeakGroup& g : report.groups) now[key_of(g)] += g.count;
    for (LeakGroup& g : report.groups) {
      const auto found = counts.find(key_of(g));
      g.before = found != counts.end() ? found->second : std::vector<std::size_t>{0};
      // Of a place that has both kinds, each is compared with what it has now of the whole.
      if (const std::size_t whole = now[key_of(g)]; whole != g.count)
        for (std::size_t& n : g.before) n = n * g.count / whole;
      if (g.before.size() > kMostBefore) g.before.erase(g.before.begin(), g.before.end() - kMostBefore);
    }
  }
  std::stable_sort(report.groups.begin(), report.groups.end(), [](const LeakGroup& a, const LeakGroup& b) {
    return std::pair(!a.certain, b.count) < std::pair(!b.certain, a.count);
  });
  return report;
}

std::string growth_text(const LeakGroup& g) {
  if (g.before.empty()) return "first look";
  std::string text = (g.growth() >= 0 ? "+" : "") + std::to_string(g.growth()) + " since the last look";
  if (g.before.size() > 1) {
    text += " (";
    for (const std::size_t n : g.before) text += std::to_string(n) + ", ";
    text += std::to_string(g.count) + ")";
  }
  return text;
}

std::string fibers_text(std::size_t n) { return std::to_string(n) + (n == 1 ? " fiber" : " fibers"); }

std::string headline(const LeakGroup& g, std::int64_t now) {
  return fibers_text(g.count) + " [" + std::string(runtime::to_string(g.reason)) + ", the oldest for " +
         age_text(now - g.oldest) + "], spawned at " + g.site + ": " + quoted(g.name, runtime::kMostName) +
         (g.names ? " and others" : "");
}

std::string one_decimal(std::int64_t ns) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3f", static_cast<double>(ns) / 1e9);
  return text;
}

}  // namespace

std::string render_leaks(const LeakReport& r) {
  const std::int64_t now = monotonic_now();
  std::string text = "leaks: " + std::to_string(r.certain) + " certain, " + std::to_string(r.suspect) +
                     " suspect, of " + fibers_text(r.waiting) + " that wait; waiting for more than " +
                     age_text(r.threshold.count()) + "\nlooked at " + age_text(now - r.at) + " ago, in " +
                     age_text(r.took.count());
  if (r.interval.count() != 0) text += ", every " + age_text(r.interval.count());
  if (r.bytes_searched != 0)
    text += "; " + std::to_string(r.bytes_searched >> 20U) + " MiB of memory searched for references";
  if (!r.not_searched.empty()) text += "; the search is not complete: " + r.not_searched;
  text += "\n";
  Symbols symbols = fiber_symbols();
  for (const LeakGroup& g : r.groups) {
    text += "\n" + std::string(g.certain ? "certain" : "suspect") + ": " + headline(g, now) + "\n";
    text += "  growth: " + growth_text(g) + "\n";
    if (!g.waits_for.empty()) text += "  waits for " + g.waits_for + "\n";
    text += "  because " + g.why + "\n";
    for (const std::uintptr_t frame : g.stack) text += "    " + symbols(frame) + "\n";
  }
  if (r.others != 0) text += "\nand " + fibers_text(r.others) + " at further places\n";
  return text;
}

std::string render_leaks_json(const LeakReport& r) {
  const std::int64_t now = monotonic_now();
  const auto add = [](std::string& out, std::string_view key, std::string_view value) {
    out += "\"" + std::string(key) + "\":";
    append_json_string(out, value);
  };
  std::string out = "{\"threshold_seconds\":" + one_decimal(r.threshold.count()) +
                    ",\"interval_seconds\":" + one_decimal(r.interval.count()) +
                    ",\"age_seconds\":" + one_decimal(now - r.at) + ",\"took_seconds\":" + one_decimal(r.took.count()) +
                    ",\"waiting\":" + std::to_string(r.waiting) + ",\"certain\":" + std::to_string(r.certain) +
                    ",\"suspect\":" + std::to_string(r.suspect) + ",\"others\":" + std::to_string(r.others) +
                    ",\"bytes_searched\":" + std::to_string(r.bytes_searched) + ",";
  add(out, "not_searched", r.not_searched);
  out += ",\"leaks\":[";
  Symbols symbols = fiber_symbols();
  for (std::size_t i = 0; i < r.groups.size(); ++i) {
    const LeakGroup& g = r.groups[i];
    out += i == 0 ? "{" : ",{";
    add(out, "kind", g.certain ? "certain" : "suspect");
    out += ",";
    add(out, "site", g.site);
    out += ",";
    add(out, "name", g.name);
    out += ",";
    add(out, "reason", runtime::to_string(g.reason));
    out += ",\"several_names\":" + std::string(g.names ? "true" : "false") + ",\"count\":" + std::to_string(g.count) +
           ",\"oldest_seconds\":" + one_decimal(now - g.oldest) + ",\"growth\":" + std::to_string(g.growth()) +
           ",\"counts_before\":[";
    for (std::size_t k = 0; k < g.before.size(); ++k) out += (k == 0 ? "" : ",") + std::to_string(g.before[k]);
    out += "],";
    add(out, "waits_for", g.waits_for);
    out += ",";
    add(out, "because", g.why);
    out += ",\"stack\":[";
    for (std::size_t k = 0; k < g.stack.size(); ++k) {
      if (k != 0) out += ",";
      append_json_string(out, symbols(g.stack[k]));
    }
    out += "]}";
  }
  return out + "]}\n";
}

Result<std::string> profile_leaks(const LeakReport& r, bool suspects) {
  PprofProfile profile(PprofProfile::ValueTypes{{"goroutineleak", "count"}});
  for (const LeakGroup& g : r.groups) {
    if (!g.certain && !suspects) continue;
    const std::array<std::pair<std::string_view, std::string_view>, 4> labels{
        {{"state", runtime::to_string(g.reason)},
         {"name", g.names ? std::string_view("(several)") : g.name},
         {"site", g.site},
         {"kind", g.certain ? "certain" : "suspect"}}};
    const auto count = static_cast<std::int64_t>(g.count);
    profile.add(g.stack, {&count, 1}, labels);
  }
  return profile.encode(std::chrono::nanoseconds(wall_now().time_since_epoch()).count(), 0);
}

std::string render_leak_profile(const LeakReport& r, bool suspects) {
  const std::int64_t now = monotonic_now();
  std::string text = "goroutineleak profile: total " + std::to_string(r.certain + (suspects ? r.suspect : 0)) + "\n";
  Symbols symbols = fiber_symbols();
  for (const LeakGroup& g : r.groups) {
    if (!g.certain && !suspects) continue;
    text += std::to_string(g.count) + " @";
    for (const std::uintptr_t frame : g.stack) text += " " + hex_text(frame);
    text += "\n# " + headline(g, now) + (g.certain ? "" : ", suspect") + "\n";
    for (const std::uintptr_t frame : g.stack) text += "#\t" + hex_text(frame) + "\t" + symbols(frame) + "\n";
    text += "\n";
  }
  return text;
}

// ---------------------------------------------------------------------------------------------- over time

void LeakWatch::set(LeakOptions options) {
  const LockGuard guard(lock_);
  // Numbers that were counted by another measure are not compared.
  if (options.threshold != options_.threshold) {
    last_.reset();
    certain_.store(0, std::memory_order_relaxed);
    suspect_.store(0, std::memory_order_relaxed);
  }
  options_ = std::move(options);
}

LeakOptions LeakWatch::options() const {
  const LockGuard guard(lock_);
  return options_;
}

std::shared_ptr<const LeakReport> LeakWatch::last() const {
  const LockGuard guard(lock_);
  return last_;
}

std::chrono::nanoseconds LeakWatch::interval_of(std::chrono::nanoseconds threshold) noexcept {
  return std::clamp<std::chrono::nanoseconds>(threshold / 4, std::chrono::milliseconds(10), std::chrono::minutes(1));
}

std::chrono::nanoseconds LeakWatch::pause() const {
  const std::chrono::nanoseconds interval = interval_of(options().threshold);
  if (!doubts_.load(std::memory_order_relaxed)) return interval;
  return std::min<std::chrono::nanoseconds>(interval / 4, kBetweenTwo);
}

std::vector<LostFiber> doubt_the_new(std::vector<StuckFiber>& fibers, const std::vector<LostFiber>& before) {
  std::vector<LostFiber> lost;
  for (StuckFiber& f : fibers) {
    if (!f.certain) continue;
    const LostFiber found{f.origin.id, f.parked_at};
    lost.push_back(found);
    if (std::binary_search(before.begin(), before.end(), found)) continue;
    f.certain = false;
    f.why += " (certain when the next look finds it so, too)";
  }
  std::sort(lost.begin(), lost.end());
  return lost;
}

std::shared_ptr<const LeakReport> LeakWatch::look() {
  // Another one looks: what it finds is as good.
  if (looking_.exchange(true, std::memory_order_acquire)) return last();
  const defer over([this] { looking_.store(false, std::memory_order_release); });
  const LeakOptions options = this->options();
  const std::shared_ptr<const LeakReport> before = last();
  LeakLook found = look_for_leaks(options.threshold);
  std::vector<LostFiber> lost = doubt_the_new(found.fibers, lost_);
  doubts_.store(!std::includes(lost_.begin(), lost_.end(), lost.begin(), lost.end()), std::memory_order_relaxed);
  lost_ = std::move(lost);
  auto report = std::make_shared<LeakReport>(report_of(std::move(found), options, before.get()));
  report->interval = interval_of(options.threshold);
  tell_new(*report);
  const LockGuard guard(lock_);
  if (options_.threshold != options.threshold) return report;
  certain_.store(report->certain, std::memory_order_relaxed);
  suspect_.store(report->suspect, std::memory_order_relaxed);
  last_ = report;
  return report;
}

void LeakWatch::tell_new(const LeakReport& report) {
  const std::int64_t now = monotonic_now();
  for (const LeakGroup& g : report.groups) {
    const std::size_t hash = hash_of(g);
    const auto at = std::lower_bound(told_.begin(), told_.end(), hash);
    if (at != told_.end() && *at == hash) continue;
    if (told_.size() == kMostTold) return;
    const auto left_out = log_.pass(now);
    if (!left_out) return;  // at the next look
    told_.insert(at, hash);
    log(g.certain ? LogLevel::error : LogLevel::warning,
        std::string(g.certain ? "leak: " : "maybe a leak: ") + headline(g, now) +
            (g.waits_for.empty() ? std::string() : ", waits for " + g.waits_for) + "; " + g.why +
            "; /debug/leaks tells more");
  }
}

LeakReport find_leaks(const LeakOptions& options) {
  LeakLook first = look_for_leaks(options.threshold);
  const std::vector<LostFiber> lost = doubt_the_new(first.fibers, {});
  if (lost.empty()) return report_of(std::move(first), options, nullptr);
  if (runtime::on_fiber()) {
    (void)runtime::sleep_for(kBetweenTwo);
  } else {
    const timespec some{0, std::chrono::nanoseconds(kBetweenTwo).count()};
    (void)nanosleep(&some, nullptr);
  }
  LeakLook again = look_for_leaks(options.threshold);
  (void)doubt_the_new(again.fibers, lost);
  return report_of(std::move(again), options, nullptr);
}

}  // namespace fiberd::observe
