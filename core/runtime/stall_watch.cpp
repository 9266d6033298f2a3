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

std::optional<StallWatch::Stall> StallWatch::look(Slot& slot, Processor& p, std::int64_t now) noexcept {
  if (slot.turn.since != slot.seen_since || slot.turn.processor != &p)
    slot.turn = {.processor = &p, .place = slot.index, .tick = slot.seen_tick, .since = slot.seen_since};
  return look(slot.turn, now);
}

std::optional<StallWatch::Stall> StallWatch::look(StallTurn& turn, std::int64_t now) noexcept {
  if (turn.judged) return std::nullopt;
  Processor& p = *turn.processor;
  const pid_t thread = p.thread.load(std::memory_order_relaxed);
  if (turn.cpu_at == 0) {
    turn.cpu_at = now;
    turn.cpu = cpu_of(thread);
    return std::nullopt;
  }
  // The whole time of it, for a slice of the kernel's is some milliseconds: in less it would look like all there was.
  if (now - turn.cpu_at < kStall) return std::nullopt;
  const std::int64_t held = now - turn.since;
  const std::int64_t cpu = cpu_of(thread);
  if (cpu < 0 || turn.cpu < 0) return std::nullopt;
  const Kind kind = judge(thread, cpu - turn.cpu, now - turn.cpu_at);
  if (kind == Kind::robbed) {
    // Counted once, and judged again: it may compute as soon as it is let.
    if (!turn.robbed) count_[static_cast<std::size_t>(kind)].fetch_add(1, std::memory_order_relaxed);
    turn.robbed = true;
    turn.cpu_at = now;
    turn.cpu = cpu;
    return std::nullopt;
  }
  turn.judged = true;
  count_[static_cast<std::size_t>(kind)].fetch_add(1, std::memory_order_relaxed);
  const bool pinned = p.pin.pinned();
  p.stalled_since.store(turn.since, std::memory_order_seq_cst);
  // It may have gone on before the store, and its machine have said that nothing was to be ended.
  if (p.tick.load(std::memory_order_seq_cst) != turn.tick) over(p, monotonic_now());
  // From here on `p` may be anybody's.
  trace::tell(trace::Cause::stall);
  const auto left_out = log_.pass(now);
  if (!left_out) return std::nullopt;
  return Stall{turn, thread, kind, pinned, held, *left_out};
}

void StallWatch::was_replaced(const Slot& slot) noexcept {
  if (slot.turn.judged || slot.turn.since != slot.seen_since || slot.turn.processor == nullptr) return;
  for (StallTurn& free : replaced_) {
    if (free.processor != nullptr) continue;
    free = slot.turn;
    ++replaced_count_;
    return;
  }
}

void StallWatch::look_at_replaced(std::int64_t now) noexcept {
  tell_again(now);
  if (replaced_count_ == 0) return;
  for (StallTurn& turn : replaced_) {
    if (turn.processor == nullptr) continue;
    std::optional<Stall> stall;
    const bool goes_on = turn.processor->tick.load(std::memory_order_acquire) == turn.tick;
    if (goes_on) stall = look(turn, now);
    if (!goes_on || turn.judged) {
      turn = {};
      --replaced_count_;
    }
    if (stall) tell(*stall);
  }
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

static constexpr std::int64_t kAskEach = 10'000'000;  // ns
static constexpr unsigned kAskMost = 50;

void StallWatch::tell(const Stall& stall) noexcept {
  if (untold_) (void)try_to_tell(*untold_, Last::yes);
  untold_.reset();
  if (try_to_tell(stall, Last::no)) return;
  untold_ = stall;
  ask_at_ = monotonic_now() + kAskEach;
  asked_ = 1;
}

void StallWatch::tell_again(std::int64_t now) noexcept {
  if (!untold_) [[likely]]
    return;
  const bool goes_on = untold_->turn.processor->tick.load(std::memory_order_acquire) == untold_->turn.tick;
  if (goes_on && now < ask_at_) return;
  if (goes_on) untold_->held = now - untold_->turn.since;
  ask_at_ = now + kAskEach;
  if (try_to_tell(*untold_, goes_on && ++asked_ < kAskMost ? Last::no : Last::yes)) untold_.reset();
}

bool StallWatch::try_to_tell(const Stall& stall, Last last) noexcept {
  try {
    Scheduler::RunningFiber running;
    bool seen = s_.look_at_thread(stall.thread, running);
    // The answer took its time: another fiber may have been asked than the one that is told of.
    const bool goes_on = stall.turn.processor->tick.load(std::memory_order_acquire) == stall.turn.tick;
    if (seen && !goes_on) {
      seen = false;
      running.depth = 0;
    }
    if (!seen && goes_on && last == Last::no) return false;
    std::string text = (seen ? describe_origin(running.origin) : std::string("a fiber")) + " has held Processor " +
                       std::to_string(stall.turn.place) + " for " + std::to_string(stall.held / 1'000'000) +
                       " ms: it " + (stall.kind == Kind::computes ? "computes" : "blocks its thread");
    if (stall.pinned) text += ", pinned, so that nobody can take over";
    if (stall.left_out != 0) text += " (and " + std::to_string(stall.left_out) + " more since the last such line)";
    for (std::size_t i = 0; i < running.depth; ++i) text += "\n    " + fiber::symbolize(running.frames[i]);
    log(LogLevel::warning, text);
  } catch (const std::bad_alloc&) {
    log(LogLevel::warning, "a fiber has held its Processor for 10 ms, and memory to describe it is out");
  }
  return true;
}

void StallWatch::read(MemStats& out) const noexcept {
  out.stalls_computing = count_[static_cast<std::size_t>(Kind::computes)].load(std::memory_order_relaxed);
  out.stalls_blocking = count_[static_cast<std::size_t>(Kind::blocks)].load(std::memory_order_relaxed);
  out.stalls_robbed = count_[static_cast<std::size_t>(Kind::robbed)].load(std::memory_order_relaxed);
  for (std::size_t i = 0; i < buckets_.size(); ++i) out.stall_buckets[i] = buckets_[i].load(std::memory_order_relaxed);
  out.stall_sum_ns = sum_.load(std::memory_order_relaxed);
}

}  // namespace fiberd::runtime
