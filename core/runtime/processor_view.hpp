#pragma once
// What each Processor does, one by one: for pages and metrics that show how the load lies on them.
#include <sys/types.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace fiberd::runtime {

struct ProcessorView {
  unsigned index = 0;         ///< below GOMAXPROCS
  std::string_view state;     ///< free, scheduling, running or sleeping
  std::uint64_t busy_ns = 0;  ///< it was awake, since the start, as sysmon saw it each 1 to 5 ms: only goes up
  std::uint64_t queued = 0;   ///< fibers that are runnable here
  std::uint64_t pinned = 0;   ///< runnable ones that are pinned here
  // Of the Processor that has this place now; they begin anew when it is replaced.
  pid_t thread = 0;  ///< that has it; 0: none
  std::uint64_t ticks = 0;
  std::uint64_t switches = 0;
  std::uint64_t steals = 0;
  // Of the place.
  std::uint64_t timers = 0;
  std::uint64_t descriptors = 0;
};

/// In the order of their index; empty when there is no runtime. Takes the lock that starts and ends of machines take,
/// for some instructions. Any thread; the runtime must live until it returns. Throws std::bad_alloc.
[[nodiscard]] std::vector<ProcessorView> read_processors();

}  // namespace fiberd::runtime
