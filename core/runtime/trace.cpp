#include "core/runtime/trace.hpp"

#include <atomic>

#include "core/runtime/scheduler.hpp"
#include "core/runtime/trace_request.hpp"

namespace fiberd::runtime::trace {

std::atomic<std::uint64_t> slow_limit{UINT64_MAX};

namespace {

std::atomic<bool> stalls_count{false};
std::atomic<std::uint32_t> cause{0};  // a Cause, until it is waited for

/// The calling fiber's; nullptr off fibers.
Machine* own_machine() noexcept {
  Machine* const m = Machine::current_machine();
  return m != nullptr && m->current != nullptr ? m : nullptr;
}

TraceWriter* own_writer() noexcept {
  Machine* const m = own_machine();
  return m != nullptr ? &m->processor->trace : nullptr;
}

}  // namespace

Region::Region(FiberName name) noexcept : name_(name.text().data()) {
  if (TraceWriter* const w = own_writer()) w->record(trace_word(TraceKind::region_begin, name_));
}

Region::~Region() {
  if (TraceWriter* const w = own_writer()) w->record(trace_word(TraceKind::region_end, name_));
}

void log(FiberName category, std::string_view message) noexcept {
  const std::uint64_t word = trace_word(TraceKind::log, category.text().data());
  Machine* const m = Machine::current_machine();
  if (m != nullptr && m->processor != nullptr) {
    m->processor->trace.record(word, message.data(), message.size());
  } else if (Scheduler* const s = Scheduler::instance()) {
    TraceWriter outside;
    s->tracer().forward(outside);
    outside.record(word, message.data(), message.size());
  }
}

void request_begin(FiberName route) noexcept {
  if (Machine* const m = own_machine()) begin_request(*m, route.text().data());
}

void request_end(unsigned status, std::uint64_t duration) noexcept {
  if (Machine* const m = own_machine())
    end_request(*m, status, duration);
  else if (duration >= slow_limit.load(std::memory_order_relaxed))
    tell(Cause::latency);
}

void watch(std::chrono::nanoseconds limit, bool stalls) noexcept {
  slow_limit.store(limit.count() > 0 ? static_cast<std::uint64_t>(limit.count()) : UINT64_MAX,
                   std::memory_order_relaxed);
  stalls_count.store(stalls, std::memory_order_relaxed);
  // What was told before is no cause any more; nor has anybody closed the watch that begins.
  cause.store(0, std::memory_order_release);
}

void tell(Cause why) noexcept {
  if (why == Cause::stall && !stalls_count.load(std::memory_order_relaxed)) return;
  std::uint32_t none = 0;
  if (cause.compare_exchange_strong(none, static_cast<std::uint32_t>(why), std::memory_order_acq_rel))
    cause.notify_all();
}

Cause wait_for_cause() noexcept {
  for (;;) {
    std::uint32_t seen = cause.load(std::memory_order_acquire);
    if (seen == static_cast<std::uint32_t>(Cause::closed)) return Cause::closed;
    if (seen != 0 && cause.compare_exchange_strong(seen, 0, std::memory_order_acq_rel)) return static_cast<Cause>(seen);
    if (seen == 0) cause.wait(0, std::memory_order_acquire);
  }
}

void close_watch() noexcept {
  slow_limit.store(UINT64_MAX, std::memory_order_relaxed);
  cause.store(static_cast<std::uint32_t>(Cause::closed), std::memory_order_release);
  cause.notify_all();
}

}  // namespace fiberd::runtime::trace
