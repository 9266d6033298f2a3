// The scheduler: fibers (G) on machines (M) with Processors (P), after Go's proc.go.
//
// Exactly GOMAXPROCS Processors are in force; fibers run only on a machine that has one. A Processor owns a ring of
// runnable fibers and a `runnext` place for the fiber that was readied last (it is hot, and it makes a ping-pong of
// two fibers cost no queueing); after 16 turns through runnext the head of the ring goes first, so that a pair cannot
// starve the rest. Nobody else is woken for what is in runnext, unless fibers run long here (20 µs in the mean) and a
// Processor has nothing to do: then it goes into the ring, for that one to take. Some turns begin with a look at what
// is due (pick_due): the clock, timers, the pinned queue, the Poller if 100 µs went by and little is queued, and every
// 61st turn the global queue. How many turns lie between two looks follows from how long fibers have been running
// here: about 50 µs, so with long slices each turn is a look. A timer that fires puts its fiber into runnext: it is
// late by the running fiber's rest and those 50 µs. When several are due, the earliest goes there, and the others
// behind what is queued, in order. So it is with what the Poller finds ready.
//
// How long a runnable fiber may wait. The ring is served in order. Who yields while anybody waits in the global queue
// goes to its end, and that is served in order, too: with N fibers that yield, each has its turn after at most N others
// and the 256 that a ring holds. Fibers that are woken come into the ring past the global queue; so every 244 turns a
// ring that is nearly full, and has not been filled from that queue meanwhile, gives 128 of its fibers to the end of
// it, which makes room. Fibers that never ran are taken newest first; between their newest and those that wait in order
// it is who came first, but while both wait no more than 2,048 of the ones in a row, and of the others no more than
// two thirds. Pinned fibers get every other turn.
//
// Two ways to switch. A fiber that leaves takes the next one from its own Processor and switches to it directly, one
// stack switch and no detour (pick_fast, leave). Only when that finds nothing, or when something special is due, does
// it switch to the machine's own stack, g0, which looks further: timers, global queue, poller, stealing, sleeping
// (find_runnable). What remains to be done for the fiber that left (commit its park, queue it, free it) is done by
// whoever runs next on that machine, in finish_switch(): only then are its registers saved.
//
// Sleeping happens inside the Processor's own Poller, so bytes for its descriptors wake it without a detour. The idle
// protocol is in idle_set.hpp, the wake-up of one wait in status_word.hpp, the ring in run_queue.hpp; each has a model.
//
// A Processor is never taken from a machine that runs a fiber (only from one that has let go of it:
// blocking_section.cpp); it is *replaced* (handoff.cpp): marked retired, while a new Processor gets its Slot (Poller,
// timers, pinned fibers). The machine with the retired one finds out at its next entry into the runtime. Until then
// thieves see the retired one's queue too, so nothing in it waits for that entry.
//
// Rejected: releasing the Processor while sleeping, as Go does (a sleeper would have to compete for one on every
// wake-up); one epoll for all (every event wakes the wrong thread half of the time, and its lock is shared); a
// run-to-completion scheduler without stealing (one 5 ms handler stalls every connection of its thread).
#include "core/runtime/scheduler.hpp"

#include <signal.h>

#include <algorithm>
#include <utility>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/cpu_relax.hpp"
#include "core/fiber/fault_handler.hpp"
#include "core/metric/shard.hpp"

namespace fiberd::runtime {

static constexpr std::int64_t kLookEvery = 50'000;
static constexpr std::int64_t kPollInterval = 100'000;
static constexpr std::int64_t kMaxPollInterval = 10'000'000;  // while there is other work

// ---------------------------------------------------------------------------------------------- queues

void Scheduler::push_pinned(Fiber& f) noexcept {
  if (f.machine != nullptr) {
    f.machine->seat.call();
    return;
  }
  for (Fiber* fiber = &f; fiber != nullptr;) {
    const unsigned n = gomaxprocs();
    Slot& slot = *slots_[fiber->pin_slot < n ? fiber->pin_slot : fiber->pin_slot % n];
    {
      const LockGuard guard(slot.pinned_lock);
      fiber->next = nullptr;
      (slot.pinned_tail != nullptr ? slot.pinned_tail->next : slot.pinned_head) = fiber;
      slot.pinned_tail = fiber;
      slot.pinned_count.fetch_add(1, std::memory_order_seq_cst);
    }
    if (slot.poller.sleeping.load(std::memory_order_seq_cst)) slot.poller.wake();
    // GOMAXPROCS may have shrunk since it was read, and set_gomaxprocs have emptied this place before we came.
    if (slot.index < gomaxprocs_.load(std::memory_order_seq_cst)) return;
    fiber = pop_pinned(slot);
  }
}

Fiber* Scheduler::pop_pinned(Slot& slot) noexcept {
  if (slot.pinned_count.load(std::memory_order_seq_cst) == 0) return nullptr;
  const LockGuard guard(slot.pinned_lock);
  Fiber* const f = slot.pinned_head;
  if (f == nullptr) return nullptr;
  slot.pinned_head = f->next;
  if (slot.pinned_head == nullptr) slot.pinned_tail = nullptr;
  slot.pinned_count.fetch_sub(1, std::memory_order_relaxed);
  return f;
}

bool Scheduler::work_anywhere() const noexcept {
  if (!global_.settled_empty()) return true;
  for (unsigned i = 0, n = slot_count_.load(std::memory_order_acquire); i < n; ++i) {
    const Processor* const p = slots_[i]->processor.load(std::memory_order_acquire);
    if (p != nullptr && p->queue.size() != 0) return true;
  }
  return retired_.have_work();
}

// ---------------------------------------------------------------------------------------------- picking

/// Half of a ring that never runs short goes behind those who wait in the global queue, which makes room for them.
void Scheduler::rotate(Processor& p) noexcept {
  if (p.queue.size() <= p.queue.capacity() / 8 * 7 || global_.empty() || !global_.in_order()) return;
  overflow(p, nullptr);
}

Fiber* Scheduler::steal_from(Processor& thief, Processor& victim) noexcept {
  const std::uint32_t n = victim.queue.steal_half(thief.queue);
  if (n == 0) return nullptr;
  thief.stats.steals.add(n);
  thief.trace.record(trace_word(TraceKind::steal, 0, n));
  return thief.queue.pop();
}

Fiber* Scheduler::steal(Machine& m) noexcept {
  Processor& p = *m.processor;
  if (Fiber* const f = retired_.steal([&](Processor& victim) { return steal_from(p, victim); })) return f;
  const unsigned n = slot_count_.load(std::memory_order_acquire);
  for (unsigned round = 0; round < 4; ++round) {
    const unsigned start = p.random.below(n);
    for (unsigned i = 0; i < n; ++i) {
      Slot& slot = *slots_[(start + i) % n];
      Processor* const victim = slot.processor.load(std::memory_order_acquire);
      if (victim == nullptr || victim == &p) continue;
      if (slot.poller.timers.earliest() <= p.now && slot.poller.timers.run(p.now) != 0)
        if (Fiber* const f = pop_local(p)) return f;
      // What a Processor has in runnext it will most likely run in a moment; sysmon takes it when that is not so.
      if (Fiber* const f = steal_from(p, *victim)) return f;
    }
    cpu_relax();
  }
  return nullptr;
}

std::int64_t Scheduler::run_timers(Slot& slot, std::int64_t now) noexcept {
  // Places beyond GOMAXPROCS keep their timers; the remaining ones look after them.
  std::int64_t earliest = INT64_MAX;
  const unsigned step = gomaxprocs();
  for (unsigned i = slot.index, n = slot_count_.load(std::memory_order_acquire); i < n; i += step) {
    TimerHeap& heap = slots_[i]->poller.timers;
    if (heap.earliest() <= now) heap.run(now);
    earliest = std::min(earliest, heap.earliest());
  }
  return earliest;
}

unsigned Scheduler::poll(Machine& m, Poller& poller, std::int64_t timeout) noexcept {
  const int n = poller.wait(m.events, timeout);
  if (timeout == 0) poller.last_poll.store(m.processor->now, std::memory_order_relaxed);
  if (n <= 0) return 0;
  m.processor->trace.record(trace_word(TraceKind::poll, 0, static_cast<std::uint32_t>(n)));
  return poller.deliver(m.events, n);
}

/// Before the last spinner sleeps: looks into the Pollers whose Processors run.
unsigned Scheduler::poll_stale(Machine& m) noexcept {
  unsigned found = 0;
  for (unsigned i = 0, n = slot_count_.load(std::memory_order_acquire); i < n; ++i) {
    Slot& slot = *slots_[i];
    if (&slot == m.processor->slot || slot.poller.sleeping.load(std::memory_order_relaxed)) continue;
    if (m.processor->now - slot.poller.last_poll.load(std::memory_order_relaxed) >= kPollInterval)
      found += poll(m, slot.poller, 0);
  }
  return found;
}

void Scheduler::end_window(Processor& p) noexcept {
  const std::uint64_t tick = p.tick.load(std::memory_order_relaxed);
  const auto turns = static_cast<std::int64_t>(std::max<std::uint64_t>(tick - p.window_tick, 1));
  p.slice = std::max((p.now - p.window_start) / turns, p.slice - p.slice / 8);
  p.window_start = p.now;
  p.window_tick = tick;
}

/// After so many turns the clock is read again, and what is due done: a due timer waits for the running fiber and at
/// most kLookEvery more.
void Scheduler::plan_look(Processor& p) noexcept {
  const std::uint64_t tick = p.tick.load(std::memory_order_relaxed);
  const auto turns = static_cast<std::uint64_t>(kLookEvery / std::max<std::int64_t>(p.slice, 1));
  p.next_look.store(std::min(p.next_fair, tick + std::max<std::uint64_t>(turns, 1)), std::memory_order_relaxed);
}

/// What comes before the Processor's own queue at this look: Poller, global queue, and at every other turn a fiber that
/// is pinned here. Not at each: two of them that yield to each other would keep all else waiting.
Fiber* Scheduler::pick_due(Machine& m) noexcept {
  Processor& p = *m.processor;
  Slot& slot = *p.slot;
  const bool wide = p.look_wide.load(std::memory_order_relaxed) && p.look_wide.exchange(false);
  // By time and not by turns: a few fibers that use up their slices would keep everybody's events waiting.
  const std::int64_t unpolled = p.now - slot.poller.last_poll.load(std::memory_order_relaxed);
  if (unpolled >= kPollInterval) {
    // What is queued goes first: a batch on top of a full ring would spill into the global queue, and there the
    // requests that came first would be served last (10,000 connections: p99 five times the median).
    const bool room = p.queue.size() < p.queue.capacity() / 4 && global_.empty();
    if (room || unpolled >= kMaxPollInterval) {
      // A due timer's fiber, or a hot partner, keeps its place in front.
      m.firing = p.runnext.empty() ? Firing::first : Firing::later;
      poll(m, slot.poller, 0);
      m.firing = Firing::no;
    }
  }
  const std::uint64_t tick = p.tick.load(std::memory_order_relaxed);
  if (wide || tick >= p.next_fair) {
    end_window(p);
    p.next_fair = tick + kFairTick;
    // Not where the ring ran short and was filled from that queue: whom it took has waited long enough.
    if (++p.fair_turns % kRotateEvery == 0 && !std::exchange(p.refilled, false)) rotate(p);
    // Not on top of many: rotate() would send back those who came to the head of the queue, not who was woken.
    const bool few = p.queue.size() < p.queue.capacity() / 4;
    if (Fiber* const f = few ? pop_global(p) : pop_global(p, 1)) {
      p.ran_pinned = false;
      return f;
    }
  }
  if (p.ran_pinned) {
    p.ran_pinned = false;
    if (Fiber* const f = pop_local(p)) return f;
    if (Fiber* const f = pop_global(p)) return f;
  }
  while (Fiber* const f = pop_pinned(slot)) {
    p.ran_pinned = true;
    if (p.pin.pin()) return f;
    // Replaced, and it sees that in a moment: the fiber is the new Processor's.
    push_pinned(*f);
    return nullptr;
  }
  return nullptr;
}

Fiber* Scheduler::find_runnable(Machine& m) noexcept {
  if (kind_ == Kind::simulated) return pick_simulated(m);
  Processor& p = *m.processor;
  Slot& slot = *p.slot;
  Fiber* f = nullptr;
  while (f == nullptr) {
    if (p.retired.load(std::memory_order_acquire)) break;
    p.now = monotonic_now();
    m.firing = Firing::first;
    (void)run_timers(slot, p.now);
    m.firing = Firing::no;
    if ((f = pick_due(m)) != nullptr) break;
    if (p.retired.load(std::memory_order_acquire)) break;
    if ((f = pop_local(p)) != nullptr) break;
    if ((f = pop_global(p)) != nullptr) break;
    if (work_anywhere()) {
      if (poll(m, slot.poller, 0) != 0 && (f = pop_local(p)) != nullptr) break;
      if (m.spinning || idle_.try_spin()) {
        m.spinning = true;
        if ((f = steal(m)) != nullptr) break;
      }
    }
    sleep(m);
  }
  plan_look(p);
  if (m.spinning) {
    m.spinning = false;
    idle_.stop_spinning();
    // Somebody may have queued work and left the waking to us.
    if (work_anywhere()) wake_helper();
  }
  return f;
}

void Scheduler::sleep(Machine& m) noexcept {
  Processor& p = *m.processor;
  Slot& slot = *p.slot;
  const bool last_spinner = m.spinning;
  // Said of the Processor before anything of its place is touched: whoever replaces it waits until it is awake again,
  // or it sees here that it has been replaced, and the place is somebody else's.
  p.phase.store(Processor::Phase::sleeping, std::memory_order_seq_cst);
  if (p.retired.load(std::memory_order_seq_cst)) {
    p.phase.store(Processor::Phase::scheduling, std::memory_order_relaxed);
    return;
  }
  // Before it can be woken: who takes a wake-up by polling for others gives it back while this is true.
  slot.poller.sleeping.store(true, std::memory_order_seq_cst);
  idle_.enter(slot.index);
  if (last_spinner) {
    m.spinning = false;
    idle_.stop_spinning();
  }
  const std::int64_t earliest = run_timers(slot, p.now);
  end_window(p);
  bool stay = p.queue.size() == 0 && p.runnext.empty() && !work_anywhere() &&
              !p.retired.load(std::memory_order_seq_cst) && slot.pinned_count.load(std::memory_order_seq_cst) == 0;
  if (stay && last_spinner) stay = poll_stale(m) == 0;
  int events = 0;
  if (stay) {
    p.trace.record(trace_word(TraceKind::sleep, 0, 0));
    events = slot.poller.wait(m.events, earliest == INT64_MAX ? earliest : std::max<std::int64_t>(earliest - p.now, 0));
    p.trace.record(trace_word(TraceKind::poll, 0, static_cast<std::uint32_t>(std::max(events, 0))));
  }
  // If a waker took us out of the set, it gave us the spinning token.
  if (!idle_.leave(slot.index)) m.spinning = true;
  slot.poller.sleeping.store(false, std::memory_order_release);
  // Last: from here on the place may have another Processor, which enters the set under the same index.
  p.phase.store(Processor::Phase::scheduling, std::memory_order_release);
  sysmon_.processor_woke();
  p.now = monotonic_now();
  slot.poller.last_poll.store(p.now, std::memory_order_relaxed);
  p.window_start = p.now;
  if (events > 0) slot.poller.deliver(m.events, events);
}

void* Scheduler::machine_main(void* argument) noexcept {
  auto& m = *static_cast<Machine*>(argument);
  pthread_setname_np(pthread_self(), "fiberd-m");
  m.eh = fiber::thread_eh_globals();
  const fiber::SignalStack signal_stack;
  m.scheduler->run_machine(m);
  return nullptr;
}

void Scheduler::run_machine(Machine& m) noexcept {
  thread_locals()->machine = &m;
  m.tid.store(::gettid(), std::memory_order_relaxed);
  fiber::init_thread_context(m.g0);
  for (;;) {
    if (m.lodger != nullptr) [[unlikely]] {
      run_lodger(m);
      continue;
    }
    if (m.processor != nullptr && m.processor->retired.load(std::memory_order_acquire)) leave_processor(m);
    if (m.processor == nullptr && !wait_for_processor(m)) break;
    Fiber* const f = find_runnable(m);
    if (f == nullptr) continue;
    begin_run(m, *f);
    m.processor->phase.store(Processor::Phase::running, std::memory_order_relaxed);
    fiber::switch_context(m.g0, f->context, m.eh, false);
    m.processor->phase.store(Processor::Phase::scheduling, std::memory_order_relaxed);
    finish_switch();
  }
  thread_locals()->machine = nullptr;
}

void Scheduler::for_each_parked_fiber(const std::function<void(const Fiber&)>& visit) {
  for (std::uint32_t i = 1, n = table_.size(); i < n; ++i) {
    Fiber& f = table_.at(i);
    // A fiber that runs may end meanwhile and its name become another's: only what is held still is shown.
    if (!f.status.begin_scan()) continue;
    visit(f);
    if (f.status.end_scan()) ready(f, false);
  }
}

// ---------------------------------------------------------------------------------------------- timers, pollers

Poller& Scheduler::poller_for_caller() noexcept {
  const Machine* const m = Machine::current_machine();
  if (m != nullptr && m->processor != nullptr) return m->processor->slot->poller;
  return slots_[0]->poller;
}

unsigned Scheduler::slot_for_caller() noexcept {
  const Machine* const m = Machine::current_machine();
  return m != nullptr && m->processor != nullptr ? m->processor->slot->index : 0;
}

TimerHeap& Scheduler::timer_heap_for_caller() noexcept { return instance()->poller_for_caller().timers; }

void Scheduler::timer_became_first(TimerHeap& heap) noexcept {
  // Its own Processor is awake and looks before it sleeps; a sleeper must be told.
  Scheduler& s = *instance();
  for (unsigned i = 0, n = s.slot_count_.load(std::memory_order_acquire); i < n; ++i) {
    Slot& slot = *s.slots_[i];
    if (&slot.poller.timers != &heap) continue;
    Poller& polled_by = s.slots_[i % s.gomaxprocs()]->poller;
    if (polled_by.sleeping.load(std::memory_order_seq_cst)) polled_by.wake();
    return;
  }
}

}  // namespace fiberd::runtime
