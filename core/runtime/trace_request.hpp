#pragma once
// A request's begin and end for the flight recorder, for the house's own server: inline, since both are paid for by
// every request. Everybody else calls trace.hpp's.
#include <atomic>
#include <cstdint>

#include "core/base/probe.hpp"
#include "core/runtime/fiber.hpp"
#include "core/runtime/machine.hpp"
#include "core/runtime/trace.hpp"

namespace fiberd::runtime::trace {

/// ns from which a request is slow; its writer is watch().
extern std::atomic<std::uint64_t> slow_limit;

inline constexpr bool kAlways = true;

/// `m`: the calling fiber's machine. `route` lives for ever.
[[gnu::always_inline]] inline void begin_request(Machine& m, const char* route) noexcept {
  m.processor->trace.record(trace_word(TraceKind::request_begin, route));
  FIBERD_PROBE2(request__start, m.current->index, route);
}

/// `keeps_slow`: whether that it was slow is a cause. By reference, for only of slow ones it is read.
[[gnu::always_inline]] inline void end_request(Machine& m, unsigned status, std::uint64_t duration,
                                               const bool& keeps_slow = kAlways) noexcept {
  m.processor->trace.record(trace_word(TraceKind::request_end, 0, status));
  FIBERD_PROBE3(request__done, m.current->index, status, duration);
  if (duration >= slow_limit.load(std::memory_order_relaxed) && keeps_slow) [[unlikely]]
    tell(Cause::latency);
}

}  // namespace fiberd::runtime::trace
