#include "config/reload.hpp"

#include <string>
#include <string_view>
#include <utility>

#include "core/base/units.hpp"

namespace fiberd::config {

namespace {

std::string_view name_of(StackGuards guards) noexcept {
  switch (guards) {
    case StackGuards::automatic: return "auto";
    case StackGuards::require: return "require";
    case StackGuards::canary: return "canary";
  }
  return "unknown";
}

/// Where a key of `section` stands that no struct keeps the place of: the file, and the key.
Place place_of(const Config& config, std::string_view key) {
  for (const Place& at : config.fixed_at)
    if (at.key == key) return at;
  return {config.source, 0, 0, std::string(key)};
}

}  // namespace

std::vector<Diagnostic> not_reloadable(const Config& before, const Config& after) {
  std::vector<Diagnostic> found;
  const auto compare = [&](std::string_view key, const auto& was, const auto& is, auto show) {
    if (was == is) return;
    found.push_back(diagnostic_at(place_of(after, key), "it cannot change while the daemon runs, from " +
                                                            std::string(show(was)) + " to " + std::string(show(is)) +
                                                            ": restart it for that"));
  };
  const auto number = [](auto n) { return std::to_string(n); };
  const RuntimeConfig& was = before.runtime;
  const RuntimeConfig& is = after.runtime;
  compare("runtime.stack_size", was.stack_size, is.stack_size, format_bytes);
  compare("runtime.small_stack_size", was.small_stack_size, is.small_stack_size, format_bytes);
  compare("runtime.large_stack_size", was.large_stack_size, is.large_stack_size, format_bytes);
  compare("runtime.stack_guards", was.stack_guards, is.stack_guards, name_of);
  compare("runtime.blocking_threads", was.blocking_threads, is.blocking_threads, number);
  compare("runtime.handoff_max", was.handoff_max, is.handoff_max, number);
  compare("runtime.machines_max", was.machines_max, is.machines_max, number);
  compare("trace.buffer", before.trace.buffer, after.trace.buffer, format_bytes);
  compare("trace.min_age", before.trace.min_age, after.trace.min_age, [](auto d) { return format_duration(d); });
  sort_by_place(found);
  return found;
}

}  // namespace fiberd::config
