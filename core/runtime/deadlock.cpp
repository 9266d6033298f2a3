// Deadlocks of a running scheduler: every fiber waits for something that only another fiber does.
//
// sysmon asks when every Processor has been asleep for a while and nothing was switched to meanwhile. The answer is
// "deadlock" when there are fibers, all of them are parked for a mutex, condition, semaphore, wait group, channel,
// select, join or pool, and nothing is about that starts or wakes a fiber by itself: no armed timer, no descriptor and
// no acceptor in a Poller (bytes may start an idle connection's handler), no job in the blocking pool.
//
// What cannot be known is what threads outside of the runtime will do: one may be about to wake a fiber or to spawn
// one. Hence the period, the word "maybe" in the report, and no consequence but the report: one for each time that the
// process comes to rest so, counted, and written to the log at most once a minute. A deadlock among some fibers while
// others go on is not found: that needs the graph of who holds what.
#include <array>
#include <string>

#include "core/base/log.hpp"
#include "core/base/printable.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/runtime/fiber_text.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/wait_edges.hpp"

namespace fiberd::runtime {

static constexpr std::int64_t kRestPeriod = 1'000'000'000;
static constexpr std::size_t kFibersTold = 16;

std::string Scheduler::describe_parked(const Fiber& f) const {
  const FiberOrigin origin = f.origin.get();
  std::string line = "fiber " + std::to_string(origin.id) + " " + quoted(origin.name, kMostName) + " waits for " +
                     std::string(to_string(f.status.reason())) + ", spawned at " + origin.where.file_name() + ":" +
                     std::to_string(origin.where.line());
  if (f.machine != nullptr) line += ", with a thread of its own";
  const fiber::Stack* const stack = f.stack.load(std::memory_order_acquire);
  if (stack == nullptr) return line;
  if (stack->stack_class != fiber::StackClass::normal)
    line += ", on a " + std::string(fiber::to_string(stack->stack_class)) + " stack";
  const fiber::FrameRegisters registers = fiber::parked_registers(f.context);
  std::array<std::uintptr_t, 32> frames{};
  const std::size_t n = fiber::walk_frames(
      registers.rbp, registers.rip, reinterpret_cast<std::uintptr_t>(stack_pool(stack->stack_class)->lowest(*stack)),
      reinterpret_cast<std::uintptr_t>(stack_pool(stack->stack_class)->end(*stack)), frames);
  for (std::size_t i = 0; i < n; ++i) line += "\n    " + fiber::symbolize(frames[i]);
  return line;
}

std::uint64_t Scheduler::activity() const noexcept {
  const LockGuard guard(structure_lock_);
  std::uint64_t sum = external_.stats.created.get();
  for (const auto& p : processors_) sum += p->stats.switches.get() + p->stats.created.get();
  return sum + locked_turns_.load(std::memory_order_relaxed);
}

bool Scheduler::maybe_deadlocked() noexcept {
  const auto asleep = [this] { return idle_.count() == gomaxprocs() && retired_.empty() && !work_anywhere(); };
  if (!asleep() || live_fibers() == 0) return false;
  const std::uint64_t before = activity();
  {
    const LockGuard guard(structure_lock_);
    if (!acceptors_.empty()) return false;
    for (unsigned i = 0; i < slot_count_.load(std::memory_order_relaxed); ++i) {
      Poller& poller = slots_[i]->poller;
      if (poller.descriptors.load(std::memory_order_relaxed) > 0 || poller.timers.any_armed()) return false;
      if (slots_[i]->pinned_count.load(std::memory_order_relaxed) != 0) return false;
    }
  }
  const BlockingPool::Stats blocking = blocking_->stats();
  if (blocking.busy != 0 || blocking.queued != 0) return false;
  for (std::uint32_t i = 1, n = table_.size(); i < n; ++i) {
    const StatusWord& status = table_.at(i).status;
    const State state = status.state();
    if (state != State::idle && (state != State::parked || !only_fibers_end(status.reason()))) return false;
  }
  return asleep() && activity() == before;
}

void Scheduler::look_for_deadlock(std::int64_t now) noexcept {
  DeadlockWatch& watch = deadlock_watch_;
  if (const std::uint64_t seen = activity(); seen != watch.activity) {
    watch.activity = seen;
    watch.since = now;
    watch.told = false;
    return;
  }
  if (watch.told || now - watch.since < kRestPeriod || !maybe_deadlocked()) return;
  watch.told = true;
  deadlocks_.fetch_add(1, std::memory_order_relaxed);
  if (!watch.log.pass(now)) return;
  try {
    const std::uint64_t live = live_fibers();
    std::string text = "maybe a deadlock: " + std::to_string(live) +
                       " fibers, all waiting for one another; no timer, descriptor or blocking call is left that could "
                       "wake one, only a thread outside of the runtime";
    std::size_t told = 0;
    for (std::uint32_t i = 1, n = table_.size(); i < n && told < kFibersTold; ++i) {
      Fiber& f = table_.at(i);
      if (!f.status.begin_scan()) continue;
      text += "\n  " + describe_parked(f);
      ++told;
      if (f.status.end_scan()) ready(f, false);
    }
    if (live > told) text += "\n  and " + std::to_string(live - told) + " more";
    log(LogLevel::error, text);
  } catch (...) {
    log(LogLevel::error, "maybe a deadlock, and memory to describe it is out");
  }
}

}  // namespace fiberd::runtime
