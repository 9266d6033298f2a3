#pragma once
// How many fibers there are by the place that spawned them and by what they do, and how long the oldest has waited.
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiberd::observe {

struct FiberCensus {
  static constexpr std::size_t kMostSites = 4'096;  ///< told apart; a program has fewer

  struct Site {
    std::string_view file;  ///< lives for ever
    std::uint32_t line = 0;
    std::string_view name;  ///< of its first fiber that was seen; lives for ever
    bool names = false;     ///< others have others
    std::uint64_t runnable = 0, running = 0, waiting = 0;
    std::string_view reason;  ///< that most of those which wait have; empty: none waits
    std::int64_t oldest_ns = 0;
    std::string_view oldest_reason;  ///< of the one that has waited longest
    [[nodiscard]] std::uint64_t count() const noexcept { return runnable + running + waiting; }
  };
  struct Reason {
    std::uint64_t count = 0;
    std::int64_t oldest_ns = 0;
  };

  std::vector<Site> sites;  ///< most fibers first
  std::map<std::string_view, Reason> reasons;
  std::uint64_t fibers = 0;     ///< all that were seen
  std::uint64_t elsewhere = 0;  ///< of them, of sites beyond kMostSites
};

/// Looks at every fiber: as runtime::for_each_fiber. Throws std::bad_alloc.
[[nodiscard]] FiberCensus take_fiber_census();

}  // namespace fiberd::observe
