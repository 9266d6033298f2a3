#pragma once
// The search for who refers to something: every word of the process's memory that points into given ranges, and where
// it stands. What a leak report calls certain rests on it (core/observe/leak_graph.hpp). How: reference_search.cpp.
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/runtime/wait_edges.hpp"

namespace fiberd::runtime {

struct SearchRange {
  HiddenAddress begin;
  std::size_t size = 0;
  std::uint32_t node = 0;  ///< what it belongs to; from 1
};

struct SearchPlan {
  /// References into these are looked for. What stands in them refers to others as their node. Disjoint.
  std::vector<SearchRange> targets{};
  /// Parts of targets that nothing but lists points to: a word that does is no reference.
  std::vector<SearchRange> links{};
  /// Queues of waiters. A word in there that points into a target of the same node is no reference.
  std::vector<SearchRange> queues{};
  /// Fibers, by index, whose stacks and functions refer as a node; others' refer as kElsewhere.
  std::vector<std::pair<std::uint32_t, std::uint32_t>> fibers{};
  /// Which fiber's function begins with this address.
  std::vector<SearchRange> tasks{};
};

struct References {
  static constexpr std::uint32_t kElsewhere = 0;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> found{};    ///< from, to: nodes; each once
  std::vector<std::pair<std::uint32_t, std::uint32_t>> runners{};  ///< a task's node, a fiber's index
  std::size_t bytes = 0;                                           ///< that were read
  std::string incomplete{};                                        ///< why something may have been missed; empty: no
};

/// Reads all writable memory of the process once: a second for some gigabytes, in a thread that may take so long, so
/// not on a fiber. Stops nobody for longer than its own stack takes to be copied. Throws std::bad_alloc.
[[nodiscard]] References search_references(SearchPlan plan);

/// False where it cannot be done, and search_references() finds everything incomplete: under AddressSanitizer, whose
/// shadow is terabytes.
[[nodiscard]] bool can_search_references() noexcept;

}  // namespace fiberd::runtime
