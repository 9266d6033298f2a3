#pragma once
// Contexts as leak reports look at them: who made one, from which others its end comes, and where it lies in memory, so
// that a search finds who could still cancel it.
#include <cstddef>
#include <cstdint>
#include <vector>

#include "core/base/source_location.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::context {

struct ContextLook {
  runtime::HiddenAddress cancellation;  ///< what waits hang in
  SourceLocation where;                 ///< that made it
  std::int64_t age_ns = 0;
  /// Of the context above it in what look_at_contexts() returns; SIZE_MAX: none, its end is its own.
  std::size_t above = SIZE_MAX;
  /// One above was left out, too many being above one another.
  bool cut_off = false;
  runtime::HiddenAddress begin;
  std::size_t size = 0;
  /// Two parts of it that lists alone point to.
  runtime::HiddenAddress lists[2];
  static constexpr std::size_t kList = 2 * sizeof(void*);
};

/// Those of `wanted` that are contexts and not done, and what is above them. Any thread. Throws std::bad_alloc.
[[nodiscard]] std::vector<ContextLook> look_at_contexts(std::vector<runtime::HiddenAddress> wanted);

}  // namespace fiberd::context
