#pragma once
// What programs write into the flight recorder, which is always on: the scheduler's own events are there already
// (trace_ring.hpp), and stand beside these in what /debug/trace and observe::write_trace show.
//
//   const auto region = runtime::trace::region("parse");          // until the end of the scope
//   runtime::trace::log("cache", "evicted " + key);               // a moment
#include <chrono>
#include <cstdint>
#include <string_view>

#include "core/runtime/fiber_name.hpp"

namespace fiberd::runtime::trace {

/// A stretch of a fiber's time, with a name that lives for ever (a literal, or FiberName::intern). Regions nest; waits
/// inside of one, and a change of the thread, are shown as part of it. Some 10 ns each to begin and to end; off fibers
/// nothing is recorded.
class [[nodiscard]] Region {
 public:
  explicit Region(FiberName name) noexcept;
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

 private:
  const char* const name_;
};
[[nodiscard]] inline Region region(FiberName name) noexcept { return Region(name); }

/// A moment of the calling fiber, or thread, with a text: of `message` the first 255 bytes are copied; any bytes may be
/// in it. Never parks.
void log(FiberName category, std::string_view message) noexcept;

/// For servers: a request of the calling fiber begins, by its route's name. Requests do not nest.
void request_begin(FiberName route) noexcept;
/// It has ended with this status after `duration` ns: perhaps slow enough to keep the trace (on_slow_request).
void request_end(unsigned status, std::uint64_t duration) noexcept;

/// What makes a trace worth keeping: whoever keeps it is told at most once until he has asked again.
enum class Cause : std::uint8_t { none, latency, stall, closed };
/// From now on requests of at least `limit` ns are a cause, and stalls (stall_watch.hpp) if `stalls`; limit 0: none.
void watch(std::chrono::nanoseconds limit, bool stalls) noexcept;
/// Blocks the calling thread, which is no fiber's, until there is a cause; closed after close_watch().
[[nodiscard]] Cause wait_for_cause() noexcept;
void close_watch() noexcept;
/// For the stall watch and tests. Any thread; never parks.
void tell(Cause cause) noexcept;

}  // namespace fiberd::runtime::trace
