// The hot path, in one file so that the compiler sees all of it: a fiber is made runnable, leaves, and the next one
// goes on. A hand-off between two fibers is prepare_park → leave → finish_switch → wake: four read-modify-write
// instructions (the commit of the park, the wake, runnext in and out), the switch, and nothing that leaves the
// Processor. What is rare stands in functions of its own: it must not cost the parked fiber's stack room or cache
// lines.
#include <algorithm>
#include <array>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/probe.hpp"
#include "core/runtime/pick_next.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

static constexpr std::int32_t kBudget = 64;
static constexpr std::int64_t kWorthWaking = 20'000;  // ns of queued work; to wake, steal and sleep again costs half

// ---------------------------------------------------------------------------------------------- making runnable

/// True: others may steal what was pushed.
bool Scheduler::push_local(Processor& p, Fiber& f, bool next) noexcept {
  Fiber* to_ring = &f;
  if (next) to_ring = p.runnext.exchange(&f);
  if (to_ring == nullptr) return false;
  if (!p.queue.push(to_ring)) [[unlikely]]
    overflow(p, to_ring);
  return true;
}

/// The ring is full: half of it goes to where everybody finds it, and `f`. What never ran goes apart (spill).
[[gnu::noinline, gnu::cold]] void Scheduler::overflow(Processor& p, Fiber* f) noexcept {
  struct Part {
    Fiber* head = nullptr;
    Fiber* tail = nullptr;
    std::uint32_t n = 0;
  };
  std::array<Fiber*, decltype(p.queue)::capacity() / 2 + 1> all;
  std::uint32_t n = p.queue.take_half(all);
  if (f != nullptr) all[n++] = f;
  const bool from_fiber = Machine::current_machine()->current != nullptr;
  const auto never_ran = [from_fiber](const Fiber& fiber) {
    return from_fiber && fiber.stack.load(std::memory_order_relaxed) == nullptr;
  };
  Part fresh;
  Part others;
  // Run by run: mostly they are all of one kind.
  for (std::uint32_t i = 0; i < n;) {
    const std::uint32_t first = i;
    const bool kind = never_ran(*all[first]);
    while (++i < n && never_ran(*all[i]) == kind) all[i - 1]->next = all[i];
    Part& part = kind ? fresh : others;
    (part.tail != nullptr ? part.tail->next : part.head) = all[first];
    part.tail = all[i - 1];
    part.n += i - first;
  }
  if (others.n != 0) global_.push_list(others.head, others.tail, others.n);
  if (fresh.n != 0) global_.spill(fresh.head, fresh.tail, fresh.n);
}

void Scheduler::ready(Fiber& f, bool next) noexcept {
  Machine* const m = Machine::current_machine();
  // A fiber wakes another, and nothing else is next: by far the most frequent case, so nothing else stands in its way.
  if (next && m != nullptr && m->current != nullptr && kind_ == Kind::real && f.pins == 0) [[likely]] {
    Processor& p = *m->processor;
    if (++p.ready_count == kSampleEvery) [[unlikely]] {
      p.ready_count = 0;
      f.runnable_since = monotonic_now();
    }
    // Where fibers run long, it would wait for the rest of the caller's slice beside somebody who has nothing to do.
    if (p.slice > kWorthWaking && idle_.any_idle()) [[unlikely]] {
      ready_slow(f, false, m);
      return;
    }
    if (!p.retired.load(std::memory_order_relaxed) && p.runnext.put_if_empty(&f)) [[likely]] {
      // Nobody is woken for what only this Processor may run, unless sysmon finds it stuck: a ping-pong of two fibers
      // would cost two system calls a turn.
      if (p.retired.load(std::memory_order_relaxed)) [[unlikely]]
        give_up_runnext(p);
      return;
    }
  }
  ready_slow(f, next, m);
}

/// The Processor has been retired, and its runnext perhaps emptied before the last fiber came into it (runnext.hpp).
[[gnu::noinline, gnu::cold]] void Scheduler::give_up_runnext(Processor& p) noexcept {
  if (Fiber* const left = p.runnext.exchange(nullptr)) {
    global_.push(*left);
    wake_helper();
  }
}

[[gnu::noinline]] void Scheduler::ready_slow(Fiber& f, bool next, Machine* m, bool yields) noexcept {
  if (kind_ == Kind::simulated) [[unlikely]] {
    sim_queue_.push_back(&f);
    return;
  }
  Processor* const p = m != nullptr ? m->processor : nullptr;
  // Not what ready() has counted.
  if (p != nullptr && (m->current == nullptr || yields || f.pins != 0) && f.machine == nullptr &&
      ++p->ready_count >= kSampleEvery) [[unlikely]] {
    p->ready_count = 0;
    f.woke_itself = yields;
    f.runnable_since = monotonic_now();
  }
  if (f.pins != 0) [[unlikely]] {
    push_pinned(f);
    return;
  }
  if (p != nullptr && !p->retired.load(std::memory_order_relaxed)) {
    // Who yields while others wait in the global queue goes behind them: a ring that takes back each that leaves it
    // stays full, and they would come in by one in kFairTick turns.
    if (!next && !global_.empty()) [[unlikely]] {
      global_.push(f);
      wake_helper();
      return;
    }
    const bool first = m->current != nullptr || m->firing == Firing::first;
    const bool shared = push_local(*p, f, next && first);
    if (m->firing == Firing::first) m->firing = Firing::later;
    if (p->retired.load(std::memory_order_relaxed)) [[unlikely]] {
      give_up_runnext(*p);
    } else if (!shared || ((m->current != nullptr || yields) && p->queue.size() * p->slice < kWorthWaking)) {
      // Nor is anybody woken for what this Processor has done itself before another is awake: fibers that pass values
      // to each other would spend most of their time in waking Processors that come too late. Were it wrong, sysmon
      // wakes one within a millisecond: it looks for a runnext whose Processor is stuck, and for queued work beside
      // sleepers.
      return;
    }
  } else {
    global_.push(f);
  }
  wake_helper();
}

void Scheduler::wake_helper() noexcept {
  const unsigned index = idle_.claim_sleeper();
  if (index != kNoSleeper) slots_[index]->poller.wake();
}

// ---------------------------------------------------------------------------------------------- picking

Fiber* Scheduler::pop_local(Processor& p) noexcept { return pick_next<Fiber>(p.runnext, p.queue, p.runnext_streak); }

/// On a fiber's stack: the next fiber if nothing special is due.
Fiber* Scheduler::pick_fast(Processor& p) noexcept {
  const std::uint64_t tick = p.tick.load(std::memory_order_relaxed) + 1;
  p.tick.store(tick, std::memory_order_relaxed);
  if (tick >= p.next_look.load(std::memory_order_relaxed) || p.retired.load(std::memory_order_relaxed) ||
      p.slot->pinned_count.load(std::memory_order_relaxed) != 0) [[unlikely]]
    return nullptr;
  return pop_local(p);
}

// ---------------------------------------------------------------------------------------------- switching

[[gnu::noinline, gnu::cold]] void Scheduler::record_latency(Processor& p, Fiber& f) noexcept {
  const auto latency = static_cast<std::uint64_t>(std::max<std::int64_t>(monotonic_now() - f.runnable_since, 0));
  f.runnable_since = 0;
  std::size_t bucket = 0;
  while (latency > kLatencyBounds[bucket]) ++bucket;
  p.stats.latency[bucket].add();
  p.stats.latency_sum.add(latency);
  sites_.ran_after(f.site, bucket, latency, f.woke_itself);
  f.woke_itself = false;
}

/// The turn that sysmon saw has ended, or another one after it. Nobody else's look at the clock says who ran long.
[[gnu::noinline, gnu::cold]] void Scheduler::end_watch(Machine& m) noexcept {
  static constexpr std::int64_t kLong = 1'000'000;
  Processor& p = *m.processor;
  const std::uint64_t seen = p.watched.exchange(0, std::memory_order_acquire);
  // Who leaves has counted the next turn already.
  if (m.previous == nullptr || p.tick.load(std::memory_order_relaxed) != seen + 1) return;
  const std::int64_t length = monotonic_now() - p.watched_at.load(std::memory_order_relaxed);
  if (length > kLong) m.scheduler->sites_.ran_long(m.previous->site, static_cast<std::uint64_t>(length));
}

/// A wake that came before its fiber had left: noted if it is the fiber's own.
[[gnu::noinline, gnu::cold]] void Scheduler::note_own_wake(Fiber& f) noexcept {
  const Machine* const m = Machine::current_machine();
  if (m != nullptr && m->current == &f) f.woke_itself_in = f.status.sequence();
}

void Scheduler::begin_run(Machine& m, Fiber& f, std::uint32_t left) noexcept {
  Processor& p = *m.processor;
  m.current = &f;
  p.trace.record(trace_word(TraceKind::run, f.index, left));
  thread_locals()->fiber = f.index;
  f.status.set_owned(State::running);
  p.budget = kBudget;
  p.stats.switches.add();
  // A pinned fiber comes from find_runnable, which has pinned the Processor.
  if (p.pin.raw() != static_cast<std::uint8_t>(f.pins != 0)) [[unlikely]]
    p.pin.unpin();
  if (f.runnable_since != 0) [[unlikely]]
    m.scheduler->record_latency(p, f);
  if (f.stack.load(std::memory_order_relaxed) == nullptr) {
    bind_stack(p, f);
  }
}

[[gnu::noinline]] void Scheduler::bind_stack(Processor& p, Fiber& f) noexcept {
  fiber::StackPool& pool = pool_of(f.stack_class);
  fiber::Stack* const stack = pool.acquire(p.stacks_of(f.stack_class));
  f.stack.store(stack, std::memory_order_release);
  fiber::init_context(f.context, pool.top(*stack), stack->base, &Scheduler::fiber_main, nullptr);
}

void Scheduler::finish_switch() noexcept {
  Machine& m = *Machine::current_machine();
  Fiber* const f = m.previous;
  if (f == nullptr) return;
  m.previous = nullptr;
  if (m.after == After::park && f->status.commit_park()) [[likely]]
    return;
  if (m.after == After::yield) {
    f->status.set_owned(State::runnable);
    m.scheduler->ready_slow(*f, false, &m, true);
    return;
  }
  finish_otherwise(m, *f);
}

/// What is rarer than a park that nobody has ended yet.
[[gnu::noinline]] void Scheduler::finish_otherwise(Machine& m, Fiber& f) noexcept {
  Scheduler& s = *m.scheduler;
  switch (m.after) {
    case After::none: return;
    case After::park:
      if (f.woke_itself_in == f.status.sequence()) {
        s.ready_slow(f, true, &m, true);
      } else {
        s.ready(f, true);
      }
      return;
    case After::yield: return;  // done before this is called
    case After::end:
      fiber::destroy_context(f.context);
      s.pool_of(f.stack_class).release(m.processor->stacks_of(f.stack_class), f.take_stack());
      s.recycle(*m.processor, f);
      return;
  }
}

/// Inlined into each way of leaving: a call less to come back through.
[[gnu::always_inline]] inline void Scheduler::leave_inline(After after, WaitReason reason) noexcept {
  Machine& m = *Machine::current_machine();
  Fiber& self = *m.current;
  m.previous = &self;
  m.after = after;
  Fiber* const next = m.scheduler->kind_ == Kind::real ? pick_fast(*m.processor) : nullptr;
  const std::uint32_t left = static_cast<std::uint32_t>(after) | (static_cast<std::uint32_t>(reason) << 8U);
  if (next != nullptr) {
    m.scheduler->begin_run(m, *next, left);
    fiber::switch_context(self.context, next->context, m.eh, after == After::end);
  } else {
    m.processor->trace.record(trace_word(TraceKind::stop, self.index, left));
    m.current = nullptr;
    fiber::switch_context(self.context, m.g0, m.eh, after == After::end);
  }
  finish_switch();
}

[[gnu::flatten]] void Scheduler::leave(After after, WaitReason reason) noexcept { leave_inline(after, reason); }

// ---------------------------------------------------------------------------------------------- waiting

static Fiber& current_fiber() noexcept { return *Machine::current_machine()->current; }

Ticket prepare_park(WaitReason reason, const void* what) noexcept {
  Fiber& f = current_fiber();
  f.waits_for.store(what, std::memory_order_relaxed);
  return Ticket{(std::uint64_t{f.index} << 32U) | f.status.begin_park(reason)};
}

Wake abandon_park(Ticket ticket) noexcept {
  Fiber& f = current_fiber();
  if (FIBERD_BUG_IF(ticket.fiber_index() != f.index)) return Wake::none;
  return f.status.abandon_park();
}

Wake park_until(Ticket ticket, Deadline deadline, Cancellation* cancellation) noexcept {
  Machine& m = *Machine::current_machine();
  Fiber& f = *m.current;
  (void)FIBERD_BUG_IF(thread_locals()->lock_depth != 0);
  if (f.status.notified()) return f.status.abandon_park();

  CancelNode node;
  if (cancellation != nullptr) {
    node.ticket = ticket;
    if (!cancellation->link(node)) {
      const Wake already = f.status.abandon_park();
      return already != Wake::none ? already : Wake::canceled;
    }
  }
  const bool timed = !deadline.is_never();
  if (timed && deadline.ns() <= m.processor->now) {
    if (cancellation != nullptr) cancellation->unlink(node);
    const Wake already = f.status.abandon_park();
    return already != Wake::none ? already : Wake::timeout;
  }
  if (timed) {
    f.timer.ticket.store(ticket);
    f.timer.arm(deadline);
  }
  const WaitReason reason = f.status.reason();
  FIBERD_PROBE2(fiber__park, f.index, static_cast<int>(reason));
  m.processor->stats.parks[static_cast<std::size_t>(reason)].add();
  f.parked_at.store(m.processor->now, std::memory_order_relaxed);
  f.obeys.store(cancellation, std::memory_order_relaxed);
  Scheduler::leave(After::park, reason);
  if (timed) f.timer.disarm();
  if (cancellation != nullptr) cancellation->unlink(node);
  return f.status.cause();
}

/// Who woke whom, before anybody else can run it.
[[gnu::always_inline]] static inline void trace_wake(Scheduler& s, const Fiber& f, Wake cause) noexcept {
  const std::uint64_t word = trace_word(TraceKind::ready, f.index, static_cast<std::uint32_t>(cause));
  Machine* const m = Machine::current_machine();
  if (m != nullptr && m->processor != nullptr) [[likely]]
    m->processor->trace.record(word);
  else
    s.tracer().record_outside(word);
  FIBERD_PROBE2(fiber__ready, f.index, static_cast<int>(cause));
}

[[gnu::flatten]] bool wake(Ticket ticket, Wake cause) noexcept {
  Scheduler* const s = Scheduler::instance();
  Fiber& f = s->fiber_at(ticket.fiber_index());
  switch (f.status.wake(ticket.sequence(), cause)) {
    case StatusWord::WakeResult::lost: return false;
    case StatusWord::WakeResult::deferred:
      Scheduler::note_own_wake(f);
      trace_wake(*s, f, cause);
      return true;
    case StatusWord::WakeResult::enqueue:
      trace_wake(*s, f, cause);
      s->ready(f, true);
      return true;
  }
  return false;
}

[[gnu::flatten]] void park(Ticket /*names the present wait*/) noexcept {
  Machine& m = *Machine::current_machine();
  Fiber& f = *m.current;
  (void)FIBERD_BUG_IF(thread_locals()->lock_depth != 0);
  const WaitReason reason = f.status.reason();
  FIBERD_PROBE2(fiber__park, f.index, static_cast<int>(reason));
  m.processor->stats.parks[static_cast<std::size_t>(reason)].add();
  f.parked_at.store(m.processor->now, std::memory_order_relaxed);
  f.obeys.store(nullptr, std::memory_order_relaxed);
  Scheduler::leave_inline(After::park, reason);
}

}  // namespace fiberd::runtime
