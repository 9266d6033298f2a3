#include "core/observe/fiber_census.hpp"

#include <algorithm>
#include <array>

#include "core/base/clock.hpp"
#include "core/runtime/fiber_list.hpp"

namespace fiberd::observe {

namespace {

using runtime::FiberView;
using runtime::WaitReason;

struct Counted {
  FiberCensus::Site site;
  std::array<std::uint64_t, static_cast<std::size_t>(WaitReason::count_)> reasons{};
};
/// Of the file's name, and line: compared in no time. A header's name has an address in each object file.
using Address = std::pair<const char*, std::uint32_t>;

void add(Counted& to, const FiberView& f, std::int64_t now) {
  FiberCensus::Site& site = to.site;
  if (site.count() == 0) site.name = f.origin.name;
  site.names = site.names || site.name != f.origin.name;
  switch (f.state) {
    case FiberView::State::runnable: ++site.runnable; return;
    case FiberView::State::running: ++site.running; return;
    case FiberView::State::waiting: break;
  }
  ++site.waiting;
  ++to.reasons[static_cast<std::size_t>(f.reason)];
  const std::int64_t age = f.parked_at != 0 ? now - f.parked_at : 0;
  if (age <= site.oldest_ns) return;
  site.oldest_ns = age;
  site.oldest_reason = runtime::to_string(f.reason);
}

void merge(Counted& to, const Counted& from) {
  FiberCensus::Site& site = to.site;
  const FiberCensus::Site& other = from.site;
  if (site.count() == 0)
    site.name = other.name;
  else
    site.names = site.names || site.name != other.name;
  site.names = site.names || other.names;
  site.runnable += other.runnable;
  site.running += other.running;
  site.waiting += other.waiting;
  for (std::size_t i = 0; i < to.reasons.size(); ++i) to.reasons[i] += from.reasons[i];
  if (other.oldest_ns <= site.oldest_ns) return;
  site.oldest_ns = other.oldest_ns;
  site.oldest_reason = other.oldest_reason;
}

}  // namespace

FiberCensus take_fiber_census() {
  FiberCensus census;
  std::map<Address, Counted> by_address;
  const std::int64_t now = monotonic_now();
  census.fibers = runtime::for_each_fiber([&](const FiberView& f) {
    if (f.state == FiberView::State::waiting) {
      FiberCensus::Reason& reason = census.reasons[runtime::to_string(f.reason)];
      ++reason.count;
      if (f.parked_at != 0) reason.oldest_ns = std::max(reason.oldest_ns, now - f.parked_at);
    }
    const Address at{f.origin.where.file_name(), static_cast<std::uint32_t>(f.origin.where.line())};
    auto found = by_address.find(at);
    if (found == by_address.end()) {
      if (by_address.size() == FiberCensus::kMostSites) {
        ++census.elsewhere;
        return true;
      }
      found = by_address.try_emplace(at).first;
    }
    add(found->second, f, now);
    return true;
  });
  std::map<std::pair<std::string_view, std::uint32_t>, Counted> by_name;
  for (const auto& [at, counted] : by_address) merge(by_name[{at.first, at.second}], counted);
  census.sites.reserve(by_name.size());
  for (auto& [at, counted] : by_name) {
    FiberCensus::Site& site = census.sites.emplace_back(counted.site);
    site.file = at.first;
    site.line = at.second;
    const auto most = std::max_element(counted.reasons.begin(), counted.reasons.end());
    if (*most != 0)
      site.reason = runtime::to_string(static_cast<WaitReason>(std::distance(counted.reasons.begin(), most)));
  }
  std::stable_sort(census.sites.begin(), census.sites.end(),
                   [](const auto& a, const auto& b) { return a.count() > b.count(); });
  return census;
}

}  // namespace fiberd::observe
