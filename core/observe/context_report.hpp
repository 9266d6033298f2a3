#pragma once
// The contexts alive and those forgotten, as text for people: what /debug/contexts shows.
#include <string>

namespace fiberd::observe {

/// By the place that made them, most first, at most 100 places each: contexts alive (how many, how many of them done
/// already, children waiting for their end, the oldest's age, the nearest deadline), and contexts that ended without
/// ever having been done, since the process began. Looks at every context. Thread-safe; never parks. Throws
/// std::bad_alloc.
[[nodiscard]] std::string render_contexts();

}  // namespace fiberd::observe
