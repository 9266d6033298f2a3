#pragma once
// Which fibers wait for what nobody can give them: one look at all of them. How it is found out, and what "certain"
// stands on: leak_graph.cpp. The reports over time are made from it in leak_report.hpp.
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "core/runtime/fiber_list.hpp"

namespace fiberd::observe {

/// A fiber that has waited for longer than the threshold, in a way that only others end.
struct StuckFiber {
  runtime::FiberOrigin origin;
  std::uint32_t index = 0;
  runtime::WaitReason reason = runtime::WaitReason::none;
  std::int64_t parked_at = 0;  ///< monotonic ns
  bool certain = false;        ///< nobody could be found who can end the wait
  std::string waits_for;       ///< address, and what is known of it
  std::string why;             ///< what makes it certain, or who may still end the wait
  std::vector<std::uintptr_t> stack;
};

struct LeakLook {
  std::vector<StuckFiber> fibers;
  std::size_t looked_at = 0;  ///< fibers that wait
  std::size_t bytes_searched = 0;
  std::string not_searched;  ///< why no search for references was made, or not all of it; empty: it was
  std::chrono::nanoseconds took{0};
};

/// One look. Of at most 4,096 stuck fibers, the first found, it is asked whether they are lost for certain; of 100,000
/// it is told that they are stuck. Milliseconds where nothing is stuck; otherwise all of the process's memory is read
/// (a second for some gigabytes), so on a thread, not on a fiber. Throws std::bad_alloc.
[[nodiscard]] LeakLook look_for_leaks(std::chrono::nanoseconds threshold);

}  // namespace fiberd::observe
