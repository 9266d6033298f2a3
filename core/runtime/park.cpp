// Waits, yields, pins: what a fiber does to itself. The protocol is explained in status_word.hpp.
#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/cpu_relax.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

static constexpr std::int64_t kSlice = 100'000;

std::string_view to_string(WaitReason reason) noexcept {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(WaitReason::count_)> kNames{
      "none",      "sleep",     "io_read",    "io_write",     "accept",          "connect",
      "resolve",   "blocking",  "service",    "mutex",        "shared_mutex",    "once",
      "condition", "semaphore", "wait_group", "channel_send", "channel_receive", "select",
      "join",      "pool",      "file",       "test"};
  const auto i = static_cast<std::size_t>(reason);
  return i < kNames.size() ? kNames[i] : "unknown";
}

std::error_code to_error(Wake wake) noexcept {
  switch (wake) {
    case Wake::timeout: return std::make_error_code(std::errc::timed_out);
    case Wake::canceled: return std::make_error_code(std::errc::operation_canceled);
    case Wake::none:
    case Wake::ready: break;
  }
  return {};
}

bool Cancellation::cancel() noexcept {
  const LockGuard guard(lock_);
  if (canceled_.exchange(true, std::memory_order_acq_rel)) return false;
  while (CancelNode* const node = waiters_.pop_front()) wake(node->ticket, Wake::canceled);
  return true;
}

bool Cancellation::link(CancelNode& node) noexcept {
  if (canceled()) return false;
  const LockGuard guard(lock_);
  if (canceled()) return false;
  waiters_.push_back(node);
  return true;
}

void Cancellation::unlink(CancelNode& node) noexcept {
  // Under the lock even when it looks unlinked: cancel() may still be using the node.
  const LockGuard guard(lock_);
  if (node.linked()) List<CancelNode>::remove(node);
}

/// A fiber that has begun a wait (prepare_park) must not be queued: its status word would forget the wait, and a wake
/// that came meanwhile would be lost. It will leave by its park, or abandon it and come by here again.
static bool in_a_wait(const Fiber& f) noexcept { return f.status.state() != State::running; }

void enter_runtime() noexcept {
  Machine& m = *Machine::current_machine();
  // Inside a blocking section the Processor is a stand-in that holds up nobody.
  if (m.processor->retired.load(std::memory_order_relaxed) && m.current->pins == 0 && !m.inside &&
      !in_a_wait(*m.current)) [[unlikely]]
    Scheduler::leave(After::yield);
}

void yield() noexcept { Scheduler::leave(After::yield); }

void spend_budget() noexcept {
  Machine* const m = Machine::current_machine();
  if (m == nullptr || m->current == nullptr) return;
  Processor& p = *m->processor;
  if (p.retired.load(std::memory_order_relaxed)) [[unlikely]] {
    enter_runtime();
    return;
  }
  // The clock is read every eighth call only: reading it costs as much as a small operation.
  if ((--p.budget & 7) != 0) return;
  bool spent = p.budget <= 0;
  if (!spent) {
    const std::int64_t now = monotonic_now();
    p.now = now;
    if (p.slice_start > now || p.slice_tick != p.tick.load(std::memory_order_relaxed)) {
      p.slice_start = now;
      p.slice_tick = p.tick.load(std::memory_order_relaxed);
    }
    spent = now - p.slice_start >= kSlice;
  }
  if (!spent || in_a_wait(*m->current)) return;
  p.stats.budget_yields.add();
  Scheduler::leave(After::yield);
}

std::uint64_t random() noexcept {
  Machine* const m = Machine::current_machine();
  if (m != nullptr && m->processor != nullptr) return m->scheduler->random_of(*m->processor).next();
  // A thread that has no Processor: a number of its own for each call, spread by the generator's seeding.
  static std::atomic<std::uint64_t> calls{0};
  return Random(static_cast<std::uint64_t>(monotonic_now()) + (calls.fetch_add(1, std::memory_order_relaxed) << 32U))
      .next();
}

Result<void> sleep_for(std::chrono::nanoseconds duration, Cancellation* cancellation) noexcept {
  if (duration.count() <= 0) {
    if (cancellation != nullptr && cancellation->canceled()) return as_result(to_error(Wake::canceled));
    yield();
    return {};
  }
  const Wake w = park_until(prepare_park(WaitReason::sleep), Deadline::in(duration), cancellation);
  return as_result(w == Wake::canceled ? to_error(w) : std::error_code{});
}

bool on_fiber() noexcept {
  const Machine* const m = Machine::current_machine();
  return m != nullptr && m->current != nullptr;
}

bool in_scheduler() noexcept {
  const ThreadLocals* const t = thread_locals();
  return t->machine != nullptr ? t->machine->current == nullptr : t->serves_timers;
}

std::int64_t coarse_now() noexcept {
  const Machine* const m = Machine::current_machine();
  const std::int64_t now = m != nullptr && m->processor != nullptr ? m->processor->now : 0;
  return now != 0 ? now : monotonic_now();  // 0: beside the Processors, where nobody keeps it
}

bool past(Deadline deadline) noexcept {
  static constexpr std::int64_t kOpen = 100'000'000;  // ns that coarse_now() may be behind
  if (deadline.is_never()) return false;
  const Machine* const m = Machine::current_machine();
  const Processor* const p = m != nullptr ? m->processor : nullptr;
  const std::int64_t coarse = coarse_now();
  if (deadline.ns() <= coarse) return true;
  // Its fiber has computed for so long that sysmon asks for a look, or has had it replaced: coarse_now() is any age.
  const bool stale =
      p != nullptr && (p->next_look.load(std::memory_order_relaxed) == 0 || p->retired.load(std::memory_order_relaxed));
  return (stale || deadline.ns() <= coarse + kOpen) && deadline.ns() <= monotonic_now();
}

Pin::Pin() noexcept {
  Scheduler::leave_section();
  for (;;) {
    enter_runtime();
    Machine& m = *Machine::current_machine();
    Fiber& f = *m.current;
    Processor& p = *m.processor;
    if (f.pins == 0 && !p.pin.pin() && !in_a_wait(f)) {
      // It is being replaced at this moment: on to another one, as soon as it is said here.
      while (!p.retired.load(std::memory_order_acquire)) cpu_relax();
      continue;
    }
    if (f.pins++ == 0) f.pin_slot = static_cast<std::uint16_t>(p.slot->index);
    return;
  }
}

Pin::~Pin() {
  Machine& m = *Machine::current_machine();
  if (--m.current->pins == 0) m.processor->pin.unpin();
}

BlockingSection::BlockingSection() noexcept : entered_(Scheduler::enter_section()) {}

BlockingSection::~BlockingSection() {
  if (entered_) Scheduler::leave_section();
}

}  // namespace fiberd::runtime
