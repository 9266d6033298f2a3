#pragma once
// The contexts alive and those forgotten, as text for people: what /debug/contexts shows.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace fiberd::observe {

/// By the place that made them, most first, at most 100 places each: contexts alive (how many, how many of them done
/// already, children waiting for their end, the oldest's age, the nearest deadline), and contexts that ended without
/// ever having been done, since the process began. Looks at every context. Thread-safe; never parks. Throws
/// std::bad_alloc.
[[nodiscard]] std::string render_contexts();

/// One place that has made contexts which are alive.
struct ContextPlace {
  std::string place;  ///< file:line
  std::uint64_t alive = 0;
  std::uint64_t done = 0;
  std::uint64_t children = 0;
  std::int64_t oldest_ns = 0;
};
/// The first `most` of what render_contexts() tells. As it otherwise.
[[nodiscard]] std::vector<ContextPlace> context_places(std::size_t most);

}  // namespace fiberd::observe
