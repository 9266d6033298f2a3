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
#include "core/fiber/backtrace.hpp"
#include "core/observe/pprof_profile.hpp"

namespace fiberd::observe {

namespace {

using runtime::FiberView;
using runtime::WaitReason;

constexpr std::size_t kMostName = 128;
constexpr std::size_t kMostGroups = 10'000;

/// Names of code addresses. A program has few places where fibers wait, so each is looked up once.
class Symbols {
 public:
  const std::string& operator()(std::uintptr_t address) {
    static constexpr std::size_t kMost = 16'384;
    if (names_.size() >= kMost) names_.clear();
    std::string& name = names_[address];
    if (name.empty()) name = fiber::symbolize(address);
    return name;
  }

 private:
  std::unordered_map<std::uintptr_t, std::string> names_;
};

std::string hex(std::uintptr_t value) {
  char text[32];
  std::snprintf(text, sizeof text, "0x%zx", static_cast<std::size_t>(value));
  return text;
}

/// As people say it: 12 ms, 3.2 s, 12 min, 5 h.
std::string age(std::int64_t ns) {
  char text[32];
  if (ns < 0) ns = 0;
  if (ns < 1'000'000'000)
    std::snprintf(text, sizeof text, "%lld ms", static_cast<long long>(ns / 1'000'000));
  else if (ns < 60'000'000'000)
    std::snprintf(text, sizeof text, "%.1f s", static_cast<double>(ns) / 1e9);
  else if (ns < 7'200'000'000'000)
    std::snprintf(text, sizeof text, "%lld min", static_cast<long long>(ns / 60'000'000'000));
  else
    std::snprintf(text, sizeof text, "%lld h", static_cast<long long>(ns / 3'600'000'000'000));
  return text;
}

std::string site_of(const FiberView& f) {
  return std::string(f.origin.where.file_name()) + ":" + std::to_string(f.origin.where.line());
}

std::string_view state_of(const FiberView& f) {
  return f.state == FiberView::State::waiting ? runtime::to_string(f.reason) : runtime::to_string(f.state);
}

std::string describe(const FiberView& f, std::int64_t now, Symbols& symbols) {
  std::string text =
      "fiber " + std::to_string(f.origin.id) + " " + quoted(f.origin.name, kMostName) + " [" + std::string(state_of(f));
  if (f.state == FiberView::State::waiting && f.parked_at != 0) text += ", " + age(now - f.parked_at);
  if (!f.until.is_never()) text += ", ends by itself in " + age(f.until.ns() - now);
  if (f.pinned) text += ", pinned";
  if (f.has_thread) text += ", with a thread of its own";
  text += "]:\n";
  if (f.waits_for != nullptr) {
    text += "  waits for " + hex(reinterpret_cast<std::uintptr_t>(f.waits_for));
    if (!f.waits_for_text.empty()) text += ", " + in_one_line(f.waits_for_text);
    text += "\n";
  }
  if (f.stack_in_use != 0)
    text += "  stack: " + std::to_string(f.stack_in_use) +
            (f.stack_size != 0 ? " of " + std::to_string(f.stack_size) : std::string()) + " bytes\n";
  for (const std::uintptr_t frame : f.frames()) text += "    " + symbols(frame) + "\n";
  return text + "  spawned at " + site_of(f) + "\n\n";
}

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
  return "\"" + printable(state, kMostName) + "\" is no state of a fiber; there are " + all;
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
  Symbols symbols;
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
    return write(describe(f, now, symbols));
  });
  std::string last = std::to_string(told) + " of " + std::to_string(all) + " fibers\n";
  if (more != 0) last = "and " + std::to_string(more) + " more; " + last;
  (void)write(last);
  return write.outcome();
}

// Readers of profiles take no sample without a stack: what is runnable stands here.
void stack_not_known() noexcept {}

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
  Symbols symbols;
  Pieces write(sink);
  (void)write("goroutine profile: total " + std::to_string(total) + "\n");
  for (const auto* const entry : sorted) {
    const auto& [key, known] = *entry;
    std::string text = std::to_string(known.count) + " @";
    for (const std::uintptr_t frame : key.frames) text += " " + hex(frame);
    text += "\n# " + quoted(known.name, kMostName) + (known.names ? " and others" : "") + " [" + std::string(key.state);
    if (known.oldest != 0) text += ", the oldest " + age(now - known.oldest);
    text += "], spawned at " + std::string(key.file) + ":" + std::to_string(key.line) + "\n";
    for (const std::uintptr_t frame : key.frames) text += "#\t" + hex(frame) + "\t" + symbols(frame) + "\n";
    if (!write(text + "\n")) break;
  }
  if (others != 0) (void)write("# and " + std::to_string(others) + " with further stacks\n");
  return write.outcome();
}

Result<std::string> profile_fibers(const FiberFilter& filter) {
  const auto all = group(filter, monotonic_now());
  PprofProfile profile(PprofProfile::ValueTypes{{"goroutine", "count"}});
  for (const auto& [key, known] : all.groups) {
    const std::string site = std::string(key.file) + ":" + std::to_string(key.line);
    const std::array<std::pair<std::string_view, std::string_view>, 3> labels{
        {{"state", key.state}, {"name", known.names ? std::string_view("(several)") : known.name}, {"site", site}}};
    const auto count = static_cast<std::int64_t>(known.count);
    profile.add(key.frames, {&count, 1}, labels);
  }
  return profile.encode(std::chrono::nanoseconds(wall_now().time_since_epoch()).count(), 0);
}

}  // namespace fiberd::observe
