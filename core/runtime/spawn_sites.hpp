#pragma once
// What fibers of each place in the source cost and wait for: how many there are, how long they stay runnable before
// they run, whether they wake themselves, run for long, and how much stack they need. How it is measured:
// site_table.hpp.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/fiber/stack_class.hpp"
#include "core/runtime/mem_stats.hpp"

namespace fiberd::runtime {

/// Of the fibers that were spawned at one place. Counters run from the start of the runtime.
struct SpawnSiteStats {
  std::string_view file;  ///< empty: all places beyond the first 1,023 together
  std::uint32_t line = 0;
  std::string_view name;      ///< of its first fiber
  std::uint64_t spawned = 0;  ///< exact, as the next one
  std::uint64_t ended = 0;
  /// Sampled, about one in 251 times that a fiber became runnable: how long until it ran (kLatencyBounds; not
  /// cumulative), and how many of them it had caused itself, by a yield or by waking itself before it left.
  std::array<std::uint64_t, kLatencyBounds.size()> latency_buckets{};
  std::uint64_t latency_sum_ns = 0;
  std::uint64_t wakes = 0;
  std::uint64_t wakes_by_itself = 0;
  /// Turns of over 1 ms that were noticed: surely those over 2 ms while a Processor idles and over 6 ms while all are
  /// busy, shorter ones by chance; the longest, ns, is too short by as much at most.
  std::uint64_t long_runs = 0;
  std::uint64_t longest_run_ns = 0;
  /// Stacks of its fibers that were measured from birth to end, and the deepest of them: bytes, a whole number of
  /// pages.
  std::uint64_t stacks_measured = 0;
  std::uint64_t stack_high_water = 0;
  bool learnt = false;                                        ///< enough were measured for the next two
  fiber::StackClass fitting = fiber::StackClass::normal;      ///< what would do
  fiber::StackClass stack_class = fiber::StackClass::normal;  ///< what its fibers get that do not ask for a class
  std::uint64_t outgrown = 0;                                 ///< times that a learnt stack was too small
};

/// Of all places of the present runtime, in the order of their first fibers; empty: there is none. Any thread; takes a
/// lock for a short time. Throws std::bad_alloc.
[[nodiscard]] std::vector<SpawnSiteStats> read_spawn_sites();

/// The same as a table for people: the `most` places with the most fibers alive (then: spawned), a line each.
[[nodiscard]] std::string describe_spawn_sites(std::size_t most);

}  // namespace fiberd::runtime
