#include "core/runtime/spawn_sites.hpp"

#include <algorithm>
#include <cstdio>

#include "core/base/printable.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

std::vector<SpawnSiteStats> Scheduler::read_spawn_sites() const {
  const std::uint32_t n = sites_.size();
  std::vector<SpawnSiteStats> all(n);
  for (std::uint32_t i = 0; i < n; ++i) sites_.read(static_cast<std::uint16_t>(i), all[i]);
  const auto add = [&](const Processor& p) {
    if (p.site_counts == nullptr) return;
    for (std::uint32_t i = 0; i < n; ++i) {
      // Ends before births: none is seen to end that was not spawned, but for those who end on another Processor.
      all[i].ended += p.site_counts[i].ended.get();
      all[i].spawned += p.site_counts[i].spawned.get();
    }
  };
  // Of hundreds of Processors and a thousand places it takes a millisecond, for which no hand-off is to wait. None of
  // them goes before the scheduler does.
  std::vector<const Processor*> there;
  there.reserve(most_processors_ + kMaxRetired);
  {
    const LockGuard guard(structure_lock_);
    for (const auto& p : processors_) there.push_back(p.get());
  }
  for (const Processor* const p : there) add(*p);
  add(external_);
  for (SpawnSiteStats& s : all) s.ended = std::min(s.ended, s.spawned);
  if (all[SiteTable::kOthers].spawned == 0) all.erase(all.begin());
  return all;
}

std::vector<SpawnSiteStats> read_spawn_sites() {
  const Scheduler* const s = Scheduler::instance();
  return s != nullptr ? s->read_spawn_sites() : std::vector<SpawnSiteStats>();
}

namespace {

/// The upper bound of the bucket in which the given share of the samples lies; "-" without samples.
std::string quantile(const SpawnSiteStats& s, double share) {
  std::uint64_t all = 0;
  for (const std::uint64_t n : s.latency_buckets) all += n;
  if (all == 0) return "-";
  std::uint64_t seen = 0;
  for (std::size_t i = 0; i + 1 < kLatencyBounds.size(); ++i) {
    seen += s.latency_buckets[i];
    if (static_cast<double>(seen) < share * static_cast<double>(all)) continue;
    const std::uint64_t us = kLatencyBounds[i] / 1'000;
    return us < 10'000 ? "<" + std::to_string(us) + "us" : "<" + std::to_string(us / 1'000) + "ms";
  }
  return ">5s";
}

std::string share_of(std::uint64_t part, std::uint64_t all) {
  return all == 0 ? "-" : std::to_string((part * 100 + all / 2) / all) + "%";
}

std::string kib(std::uint64_t bytes) { return bytes == 0 ? "-" : std::to_string(bytes / 1024) + "K"; }

std::string class_of(const SpawnSiteStats& s) {
  if (s.stack_class == s.fitting || !s.learnt) return std::string(fiber::to_string(s.stack_class));
  return std::string(fiber::to_string(s.stack_class)) + "(" + std::string(fiber::to_string(s.fitting)) + " would do)";
}

}  // namespace

std::string describe_spawn_sites(std::size_t most) {
  static constexpr std::size_t kMostName = 64;
  std::vector<SpawnSiteStats> all = read_spawn_sites();
  const std::size_t places = all.size();
  const std::size_t shown = std::min(most, places);
  std::partial_sort(all.begin(), all.begin() + static_cast<std::ptrdiff_t>(shown), all.end(),
                    [](const SpawnSiteStats& a, const SpawnSiteStats& b) {
                      const std::uint64_t live_a = a.spawned - a.ended;
                      const std::uint64_t live_b = b.spawned - b.ended;
                      return live_a != live_b ? live_a > live_b : a.spawned > b.spawned;
                    });
  std::string text =
      "SITES " + std::to_string(shown) + " of " + std::to_string(places) +
      ": fibers alive and spawned; time runnable before a run (p50, p99) and the share of wakes by itself, "
      "sampled; turns over 1 ms and the longest; stack: deepest of those measured, class\n";
  char line[256];
  std::snprintf(line, sizeof line, "%9s %11s %8s %8s %5s %6s %8s %6s %8s %9s  %s\n", "alive", "spawned", "p50", "p99",
                "self", ">1ms", "longest", "stack", "measured", "outgrown", "class, place, name of the first");
  text += line;
  for (std::size_t i = 0; i < shown; ++i) {
    const SpawnSiteStats& s = all[i];
    std::snprintf(line, sizeof line, "%9llu %11llu %8s %8s %5s %6llu %6llums %6s %8llu %9llu  ",
                  static_cast<unsigned long long>(s.spawned - s.ended), static_cast<unsigned long long>(s.spawned),
                  quantile(s, 0.5).c_str(), quantile(s, 0.99).c_str(), share_of(s.wakes_by_itself, s.wakes).c_str(),
                  static_cast<unsigned long long>(s.long_runs),
                  static_cast<unsigned long long>(s.longest_run_ns / 1'000'000), kib(s.stack_high_water).c_str(),
                  static_cast<unsigned long long>(s.stacks_measured), static_cast<unsigned long long>(s.outgrown));
    text += line + class_of(s) + " ";
    text += s.file.empty() ? std::string("all other places")
                           : std::string(s.file) + ":" + std::to_string(s.line) + " " + quoted(s.name, kMostName);
    text += "\n";
  }
  return text;
}

}  // namespace fiberd::runtime
