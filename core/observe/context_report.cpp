#include "core/observe/context_report.hpp"

#include <algorithm>
#include <cstdio>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/clock.hpp"
#include "core/context/live_contexts.hpp"

namespace fiberd::observe {

namespace {

constexpr std::size_t kMostPlaces = 100;

struct Place {
  std::uint64_t alive = 0;
  std::uint64_t done = 0;
  std::uint64_t children = 0;
  std::int64_t oldest_ns = 0;
  Deadline nearest;
};
using Address = std::pair<const char*, std::uint_least32_t>;  // of the file's name, and line: compared in no time
using Name = std::pair<std::string_view, std::uint_least32_t>;

struct Alive {
  std::map<Address, Place> places;
  Place all;
  bool incomplete = false;

  static void add_to(Place& p, const context::LiveContext& c) noexcept {
    ++p.alive;
    p.done += c.done ? 1 : 0;
    p.children += c.children;
    p.oldest_ns = std::max(p.oldest_ns, c.age_ns);
    if (!c.done) p.nearest = p.nearest.earlier(c.deadline);
  }
  static void add_to(Place& p, const Place& other) noexcept {
    p.alive += other.alive;
    p.done += other.done;
    p.children += other.children;
    p.oldest_ns = std::max(p.oldest_ns, other.oldest_ns);
    p.nearest = p.nearest.earlier(other.nearest);
  }
  static void visit(void* argument, const context::LiveContext& c) {
    auto& self = *static_cast<Alive*>(argument);
    add_to(self.all, c);
    try {
      add_to(self.places[{c.where.file_name(), c.where.line()}], c);
    } catch (const std::bad_alloc&) {
      self.incomplete = true;  // a list's lock is held by who calls: it must not be left by an exception
    }
  }
};

std::vector<std::pair<Name, Place>> most_first(const Alive& alive) {
  // A header's name has an address in each object file.
  std::map<Name, Place> by_name;
  for (const auto& [address, place] : alive.places) Alive::add_to(by_name[{address.first, address.second}], place);
  std::vector<std::pair<Name, Place>> places(by_name.begin(), by_name.end());
  std::ranges::stable_sort(places, [](const auto& a, const auto& b) { return a.second.alive > b.second.alive; });
  return places;
}

std::string seconds(std::int64_t ns) {
  char text[32];
  const int n = std::snprintf(text, sizeof text, "%.3fs", static_cast<double>(ns) / 1e9);
  return {text, static_cast<std::size_t>(std::max(n, 0))};
}

void add_line(std::string& out, const Place& p, std::string_view where, std::int64_t now) {
  const std::string nearest = p.nearest.is_never() ? "-" : seconds(p.nearest.ns() - now);
  char line[256];
  const int n =
      std::snprintf(line, sizeof line, "%8llu %8llu %8llu %12s %12s  ", static_cast<unsigned long long>(p.alive),
                    static_cast<unsigned long long>(p.done), static_cast<unsigned long long>(p.children),
                    seconds(p.oldest_ns).c_str(), nearest.c_str());
  out.append(line, static_cast<std::size_t>(std::clamp(n, 0, static_cast<int>(sizeof line) - 1)));
  out.append(where).append("\n");
}

}  // namespace

std::vector<ContextPlace> context_places(std::size_t most) {
  Alive alive;
  context::for_each_live(&Alive::visit, &alive);
  std::vector<ContextPlace> told;
  for (const auto& [name, p] : most_first(alive)) {
    if (told.size() == most) break;
    told.push_back(
        {std::string(name.first) + ":" + std::to_string(name.second), p.alive, p.done, p.children, p.oldest_ns});
  }
  return told;
}

std::string render_contexts() {
  Alive alive;
  context::for_each_live(&Alive::visit, &alive);
  const std::int64_t now = monotonic_now();
  const std::vector<std::pair<Name, Place>> places = most_first(alive);

  std::string out = "contexts alive, by the place that made them\n";
  out += "   alive     done children       oldest     deadline  place\n";
  add_line(out, alive.all, "(all)", now);
  for (std::size_t i = 0; i < std::min(places.size(), kMostPlaces); ++i) {
    const auto& [name, place] = places[i];
    add_line(out, place, std::string(name.first) + ":" + std::to_string(name.second), now);
  }
  if (places.size() > kMostPlaces) out += "and " + std::to_string(places.size() - kMostPlaces) + " more places\n";
  if (alive.incomplete) out += "memory ran out: not all places are shown\n";

  out +=
      "\ncontexts that ended without ever having been cancelled: " + std::to_string(context::never_canceled_count()) +
      "\n";
  const std::vector<context::ContextSite> sites = context::never_canceled_sites();
  for (std::size_t i = 0; i < std::min(sites.size(), kMostPlaces); ++i) {
    const context::ContextSite& s = sites[i];
    char count[32];
    const int n = std::snprintf(count, sizeof count, "%8llu  ", static_cast<unsigned long long>(s.count));
    out.append(count, static_cast<std::size_t>(std::max(n, 0)));
    const std::string_view file = s.where.file_name();
    out += file.empty() ? std::string("other places") : std::string(file) + ":" + std::to_string(s.where.line());
    out += "\n";
  }
  return out;
}

}  // namespace fiberd::observe
