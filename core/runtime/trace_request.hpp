#pragma once
// trace::request_begin and request_end where they are called for each request: inline, and on fibers only.
#include <atomic>
#include <cstdint>

#include "core/base/probe.hpp"
#include "core/base/thread_locals.hpp"
#include "core/runtime/machine.hpp"
#include "core/runtime/trace.hpp"

namespace fiberd::runtime::trace {

/// ns; what takes as long is Cause::latency. All bits: nothing does.
extern std::atomic<std::uint64_t> slow_limit;

[[gnu::always_inline]] inline void begin_request(const char* route) noexcept {
  const ThreadLocals* const t = thread_locals();
  t->machine->processor->trace.record(trace_word(TraceKind::request_begin, route));
  FIBERD_PROBE2(request__start, t->fiber, route);
}

/// `status` 0: the client left before there was an answer.
[[gnu::always_inline]] inline void end_request(unsigned status, std::uint64_t duration) noexcept {
  const ThreadLocals* const t = thread_locals();
  t->machine->processor->trace.record(trace_word(TraceKind::request_end, 0, status));
  FIBERD_PROBE3(request__done, t->fiber, status, duration);
  if (duration >= slow_limit.load(std::memory_order_relaxed)) [[unlikely]]
    tell(Cause::latency);
}

}  // namespace fiberd::runtime::trace
