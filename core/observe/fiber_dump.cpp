#include "core/observe/fiber_dump.hpp"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <tuple>
#include <unordered_map>
#include <utility>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/printable.hpp"
#include "core/observe/pprof_profile.hpp"
#include "core/observe/symbol_names.hpp"
#include "core/runtime/fiber_text.hpp"

namespace fiberd::observe {

namespace {

using runtime::FiberView;
using runtime::site_of;
using runtime::state_of;
using runtime::Symbols;
using runtime::WaitReason;

constexpr std::size_t kMostGroups = 10'000;

/// Keeps an error of the sink while fibers are visited.
class Pieces {
 public:
  explicit Pieces(const TextSink& sink) noexcept : sink_(sink) {}
  bool operator()(std::string_view piece) {
    if (!outcome_) return false;
    outcome_ = sink_(piece);
    return outcome_.has_value();
  }
  [[nodiscard]] Result<void> outcome() const { return outcome_; }

 private:
  const TextSink& sink_;
  Result<void> outcome_{};
};

}  // namespace

std::optional<std::string> why_no_state(std::string_view state) {
  std::string all;
  for (const auto s : {FiberView::State::runnable, FiberView::State::running, FiberView::State::waiting}) {
    if (state == runtime::to_string(s)) return std::nullopt;
    all += (all.empty() ? "" : ", ") + std::string(runtime::to_string(s));
  }
  for (std::size_t i = 1; i < static_cast<std::size_t>(WaitReason::count_); ++i) {
    const std::string_view name = runtime::to_string(static_cast<WaitReason>(i));
    if (state == name) return std::nullopt;
    all += ", " + std::string(name);
  }
  return "\"" + printable(state, runtime::kMostName) + "\" is no state of a fiber; there are " + all;
}

bool FiberFilter::matches(const FiberView& f, std::int64_t now) const {
  if (!name.empty() && f.origin.name.find(name) == std::string_view::npos) return false;
  if (!state.empty() && state != state_of(f) && state != runtime::to_string(f.state)) return false;
  if (min_age.count() > 0 &&
      (f.state != FiberView::State::waiting || f.parked_at == 0 || now - f.parked_at < min_age.count()))
    return false;
  return site.empty() || site_of(f).find(site) != std::string::npos;
}

Result<void> dump_fibers(const FiberFilter& filter, const TextSink& sink, std::size_t most) {
  Symbols symbols = fiber_symbols();
  Pieces write(sink);
  std::size_t told = 0;
  std::size_t more = 0;
  const std::size_t all = runtime::for_each_fiber([&](const FiberView& f) {
    const std::int64_t now = monotonic_now();
    if (!filter.matches(f, now)) return true;
    if (told == most) {
      ++more;
      return true;
    }
    ++told;
    return write(runtime::describe(f, now, symbols));
  });
  std::string last = std::to_string(told) + " of " + std::to_string(all) + " fibers\n";
  if (more != 0) last = "and " + std::to_string(more) + " more; " + last;
  (void)write(last);
  return write.outcome();
}

namespace {

struct Group {
  std::size_t count = 0;
  std::int64_t oldest = 0;  // when it began to wait; 0: unknown
  std::string name;         // of the first of them
  bool names = false;       // others have others
};
struct Key {
  std::vector<std::uintptr_t> frames;
  std::string_view state;
  std::string_view file;
  std::uint32_t line;
  bool operator<(const Key& other) const {
    return std::tie(frames, state, file, line) < std::tie(other.frames, other.state, other.file, other.line);
  }
};
struct Groups {
  std::map<Key, Group> groups;
  std::size_t total = 0;
  std::size_t others = 0;  // beyond kMostGroups
};

Groups group(const FiberFilter& filter, std::int64_t now) {
  Groups all;
  (void)runtime::for_each_fiber([&](const FiberView& f) {
    if (!filter.matches(f, now)) return true;
    ++all.total;
    Key key{{f.frames().begin(), f.frames().end()},
            state_of(f),
            f.origin.where.file_name(),
            static_cast<std::uint32_t>(f.origin.where.line())};
    if (key.frames.empty()) key.frames.push_back(reinterpret_cast<std::uintptr_t>(&stack_not_known) + 1);
    auto at = all.groups.find(key);
    if (at == all.groups.end()) {
      if (all.groups.size() == kMostGroups) {
        ++all.others;
        return true;
      }
      at = all.groups.emplace(std::move(key), Group{.name = std::string(f.origin.name)}).first;
    }
    Group& known = at->second;
    ++known.count;
    known.names = known.names || known.name != f.origin.name;
    if (f.parked_at != 0 && (known.oldest == 0 || f.parked_at < known.oldest)) known.oldest = f.parked_at;
    return true;
  });
  return all;
}

}  // namespace

Result<void> group_fibers(const FiberFilter& filter, const TextSink& sink) {
  const std::int64_t now = monotonic_now();
  const auto [groups, total, others] = group(filter, now);
  std::vector<const std::pair<const Key, Group>*> sorted;
  sorted.reserve(groups.size());
  for (const auto& group : groups) sorted.push_back(&group);
  std::stable_sort(sorted.begin(), sorted.end(),
                   [](const auto* a, const auto* b) { return a->second.count > b->second.count; });
  Symbols symbols = fiber_symbols();
  Pieces write(sink);
  (void)write("goroutine profile: total " + std::to_string(total) + "\n");
  for (const auto* const entry : sorted) {
    const auto& [key, known] = *entry;
    std::string text = std::to_string(known.count) + " @";
    for (const std::uintptr_t frame : key.frames) text += " " + runtime::hex_text(frame);
    text += "\n# " + quoted(known.name, runtime::kMostName) + (known.names ? " and others" : "") + " [" +
            std::string(key.state);
    if (known.oldest != 0) text += ", the oldest " + runtime::age_text(now - known.oldest);
    text += "], spawned at " + std::string(key.file) + ":" + std::to_string(key.line) + "\n";
    for (const std::uintptr_t frame : key.frames)
      text += "#\t" + runtime::hex_text(frame) + "\t" + symbols(frame) + "\n";
    if (!write(text + "\n")) break;
  }
  if (others != 0) (void)write("# and " + std::to_string(others) + " with further stacks\n");
  return write.outcome();
}

PprofProfile collect_fibers(const FiberFilter& filter) {
  const auto all = group(filter, monotonic_now());
  PprofProfile profile(PprofProfile::ValueTypes{{"goroutine", "count"}});
  for (const auto& [key, known] : all.groups) {
    const std::string site = std::string(key.file) + ":" + std::to_string(key.line);
    const std::array<std::pair<std::string_view, std::string_view>, 3> labels{
        {{"state", key.state}, {"name", known.names ? std::string_view("(several)") : known.name}, {"site", site}}};
    const auto count = static_cast<std::int64_t>(known.count);
    profile.add(key.frames, {&count, 1}, labels);
  }
  return profile;
}

Result<std::string> profile_fibers(const FiberFilter& filter) {
  return collect_fibers(filter).encode(std::chrono::nanoseconds(wall_now().time_since_epoch()).count(), 0);
}

}  // namespace fiberd::observe
