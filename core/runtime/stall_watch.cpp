#include "core/runtime/stall_watch.hpp"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <string_view>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/trace.hpp"

namespace fiberd::runtime {

static constexpr std::int64_t kStall = 10'000'000;  // ns; as sysmon's kHeldTooLong

/// The thread's CPU time, ns; -1: there is no such thread any more. The clock's number is the kernel's ABI
/// (pthread_getcpuclockid needs a handle that is known to be alive).
static std::int64_t cpu_of(pid_t thread) noexcept {
  static constexpr clockid_t kPerThread = 6;
  timespec t{};
  const auto clock = static_cast<clockid_t>(~static_cast<unsigned>(thread) << 3U) | kPerThread;
  return clock_gettime(clock, &t) == 0 ? t.tv_sec * 1'000'000'000 + t.tv_nsec : -1;
}

/// 'R', 'S', 'D' … as proc(5) tells it; '?' where it cannot be read.
static char state_of(pid_t thread) noexcept {
  char text[256];
  std::snprintf(text, sizeof text, "/proc/self/task/%d/stat", thread);
  const int fd = ::open(text, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return '?';
  const ssize_t n = ::read(fd, text, sizeof text);
  ::close(fd);
  const std::string_view stat(text, n > 0 ? static_cast<std::size_t>(n) : 0);
  const std::size_t name_end = stat.rfind(')');  // a thread's name may hold anything
  return name_end != std::string_view::npos && name_end + 2 < stat.size() ? stat[name_end + 2] : '?';
}

StallWatch::Kind StallWatch::judge(pid_t thread, std::int64_t used, std::int64_t wall) noexcept {
  if (used >= wall / 2) return Kind::computes;
  const char state = state_of(thread);
  return state == 'S' || state == 'D' ? Kind::blocks : Kind::robbed;
}

void StallWatch::look(Slot& slot, Processor& p, std::int64_t now) noexcept {
  const pid_t thread = p.thread.load(std::memory_order_relaxed);
  if (slot.judged == slot.seen_since) return;
  if (slot.cpu_of != slot.seen_since) {
    slot.cpu_of = slot.seen_since;
    slot.cpu_at = now;
    slot.cpu = cpu_of(thread);
    return;
  }
  // The whole time of it, for a slice of the kernel's is some milliseconds: in less it would look like all there was.
  if (now - slot.cpu_at < kStall) return;
  const std::int64_t held = now - slot.seen_since;
  const std::int64_t cpu = cpu_of(thread);
  if (cpu < 0 || slot.cpu < 0) return;
  const Kind kind = judge(thread, cpu - slot.cpu, now - slot.cpu_at);
  if (kind == Kind::robbed) {
    // Counted once, and judged again: it may compute as soon as it is let.
    if (slot.robbed != slot.seen_since) count_[static_cast<std::size_t>(kind)].fetch_add(1, std::memory_order_relaxed);
    slot.robbed = slot.seen_since;
    slot.cpu_at = now;
    slot.cpu = cpu;
    return;
  }
  slot.judged = slot.seen_since;
  count_[static_cast<std::size_t>(kind)].fetch_add(1, std::memory_order_relaxed);
  const bool pinned = p.pin.pinned();
  p.stalled_since.store(slot.seen_since, std::memory_order_seq_cst);
  // It may have gone on before the store, and its machine have said that nothing was to be ended.
  if (p.tick.load(std::memory_order_seq_cst) != slot.seen_tick) over(p, monotonic_now());
  // From here on `p` may be anybody's.
  trace::tell(trace::Cause::stall);
  if (const auto left_out = log_.pass(now)) tell({slot.index, thread, kind, pinned, held, *left_out});
}

void StallWatch::over(Processor& p, std::int64_t now) noexcept {
  const std::int64_t since = p.stalled_since.exchange(0, std::memory_order_acq_rel);
  if (since == 0) return;
  const auto length = static_cast<std::uint64_t>(std::max<std::int64_t>(now - since, 0));
  std::size_t bucket = 0;
  while (length > kStallBounds[bucket]) ++bucket;
  buckets_[bucket].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(length, std::memory_order_relaxed);
}

void StallWatch::tell(const Stall& stall) noexcept {
  try {
    Scheduler::RunningFiber running;
    const bool seen = s_.look_at_thread(stall.thread, running);
    std::string text = (seen ? describe_origin(running.origin) : std::string("a fiber")) + " has held Processor " +
                       std::to_string(stall.processor) + " for " + std::to_string(stall.held / 1'000'000) + " ms: it " +
                       (stall.kind == Kind::computes ? "computes" : "blocks its thread");
    if (stall.pinned) text += ", pinned, so that nobody can take over";
    if (stall.left_out != 0) text += " (and " + std::to_string(stall.left_out) + " more since the last such line)";
    for (std::size_t i = 0; i < running.depth; ++i) text += "\n    " + fiber::symbolize(running.frames[i]);
    log(LogLevel::warning, text);
  } catch (const std::bad_alloc&) {
    log(LogLevel::warning, "a fiber has held its Processor for 10 ms, and memory to describe it is out");
  }
}

void StallWatch::read(MemStats& out) const noexcept {
  out.stalls_computing = count_[static_cast<std::size_t>(Kind::computes)].load(std::memory_order_relaxed);
  out.stalls_blocking = count_[static_cast<std::size_t>(Kind::blocks)].load(std::memory_order_relaxed);
  out.stalls_robbed = count_[static_cast<std::size_t>(Kind::robbed)].load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < buckets_.size(); ++i) out.stall_buckets[i] = buckets_[i].load(std::memory_order_relaxed);
  out.stall_sum_ns = sum_.load(std::memory_order_relaxed);
}

}  // namespace fiberd::runtime
