// Locked threads: a machine that belongs to one fiber, its lodger, until that gives it back.
//
// What is wanted. Some libraries keep state by thread (a graphics context, an interpreter, errno-like handles, a
// namespace or a credential of the kernel's). A fiber that uses one must come back to the same thread after each wait,
// and no other fiber may run there meanwhile.
//
// How. The fiber gives its machine's Processor to another machine, whole, with its queue, caches and Poller, as a
// blocking section's is retaken (blocking_section.cpp); but it does so itself, under the structure lock, where nobody
// can replace or retire the Processor at the same moment. What the machine works with from then on is its stand-in: a
// Processor that is retired for ever. So all that a locked fiber does to others takes the ways that sections already
// take: whom it wakes goes to the global queue, its spawns use the books of threads outside, its counters are shard 0.
// And all the rest of the scheduler, which looks at Processors (stealing, sysmon, the idle set, hand-off, GOMAXPROCS,
// deadlock's "all sleep"), does not see the machine at all: there is nothing to take from it.
//
// Waiting. The lodger parks like any fiber; then its machine has nothing to do, for it has no Processor, and sleeps in
// its seat (seat.hpp). Who wakes the fiber wins its status word as always and comes to ready(). There a locked fiber
// looks like a pinned one (`pins` is not 0), so the hot path has nothing new to ask; push_pinned() sees that it has a
// machine of its own and calls it there. Time-outs, cancellations, descriptors, walkers with the scan bit, yield()
// (which wakes its own machine) all end in that one place.
//
// Invariants.
//   * m.lodger == f exactly while f.machine == m; both change on that machine, on that fiber, under structure_lock_.
//   * A machine with a lodger has the stand-in for a Processor, runs begin_run() for the lodger only, and is neither
//     spare nor assigned to anything. A fiber with a machine is in no queue; it is called, at most once a wait.
//   * The fiber ends, and its stack is given back, on a machine with a real Processor: the outermost guard's end
//     leaves by a yield, and a fiber that ends on a stand-in for whatever reason leaves it first (fiber_main).
//
// How many. A locked machine is one less for others: as for sections a thread must remain for each Processor to be
// replaced. If machines_max (or what the system gives) would not leave that, the lock is refused. It is not waited for:
// locked fibers live long, and one that waits for another's end would look like one that is stuck.
//
// The clock. Nobody reads it for a stand-in each round, and a foreign call may last: its `now` is 0, which tells
// coarse_now() to look itself.
//
// Pinned fibers are refused. A Pin says: on this Processor, alone; the lock takes the fiber off it. The other way round
// a Pin inside of a lock has nothing to hold on to; it counts, and if it outlives the lock it holds the place that the
// fiber had.
//
// Rejected. Go's way: the locked goroutine needs a P to run, so who finds it in its queue gives its own P to the locked
// M and sleeps, and gets one back by luck: two thread switches a turn, in the middle of the hot path's pick, a P that
// does nothing meanwhile; and code that locks threads does so to call what blocks. Keeping the Processor while the
// fiber runs and giving it up at each park would cost the structure lock and a thread's wake-up twice a wait. A pool of
// plain threads with a queue is what blocking() is; it cannot be the fiber's own stack.
#include "core/runtime/lock_thread.hpp"

#include <system_error>

#include "core/base/bug.hpp"
#include "core/runtime/errc.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

/// Under structure_lock_. Whether one machine more may be locked: the machines of all Processors could be replaced at
/// once even so.
bool Scheduler::may_lock_machine() const noexcept {
  const auto in_use = static_cast<unsigned>(machines_.size()) - spare_count_;
  return in_use + 1 + gomaxprocs_.load(std::memory_order_relaxed) <= machine_limit();
}

std::error_code Scheduler::lock_thread() noexcept {
  if (FIBERD_BUG_IF(!on_fiber())) return std::make_error_code(std::errc::operation_not_permitted);
  leave_section();
  for (;;) {
    enter_runtime();
    Machine& m = *Machine::current_machine();
    Scheduler& s = *m.scheduler;
    Fiber& f = *m.current;
    if (f.locks != 0 || s.kind_ == Kind::simulated) {
      ++f.locks;
      return {};
    }
    if (f.pins != 0 || FIBERD_BUG_IF(f.status.state() != State::running))
      return std::make_error_code(std::errc::operation_not_permitted);
    Processor& p = *m.processor;
    const LockGuard guard(s.structure_lock_);
    // Retired since: on to another one. (The way out of the loop's body ends the hold.)
    if (p.retired.load(std::memory_order_relaxed)) continue;
    Machine* const other = s.may_lock_machine() ? s.idle_machine() : nullptr;
    if (other == nullptr) {
      s.locks_refused_.fetch_add(1, std::memory_order_relaxed);
      return errc::out_of_threads;
    }
    f.locks = 1;
    f.pins = 1;
    f.pin_slot = static_cast<std::uint16_t>(p.slot->index);
    f.machine = &m;
    m.lodger = &f;
    ++s.locked_count_;
    if (s.section_room() == 0) s.sections_wait_.store(true, std::memory_order_relaxed);
    m.stand_in.slot = p.slot;
    m.stand_in.now = 0;
    m.processor = &m.stand_in;
    thread_locals()->shard = 0;
    // From here on it is the other machine's.
    p.phase.store(Processor::Phase::scheduling, std::memory_order_relaxed);
    assign(*other, p);
    return {};
  }
}

void Scheduler::unlock_thread() noexcept {
  if (FIBERD_BUG_IF(!on_fiber())) return;
  Machine& m = *Machine::current_machine();
  Fiber& f = *m.current;
  if (FIBERD_BUG_IF(f.locks == 0) || --f.locks != 0 || f.machine == nullptr) return;
  give_thread_back(m, f);
  // To a Processor. In the middle of a wait that happens at its end.
  if (f.status.state() == State::running) leave(After::yield);
}

/// At a fiber's end: its stack and its books are a Processor's. Rare: the guards are gone by then, as scopes are.
void Scheduler::leave_thread(Fiber& f) noexcept {
  if (f.machine != nullptr) {
    report_bug("a fiber ended that has locked its thread");
    give_thread_back(*Machine::current_machine(), f);
  }
  leave(After::yield);
}

/// On the machine: it and the fiber are nothing to each other any more. The stand-in stays until the fiber has left.
void Scheduler::give_thread_back(Machine& m, Fiber& f) noexcept {
  m.seat.vacate();
  Scheduler& s = *m.scheduler;
  const LockGuard guard(s.structure_lock_);
  --s.locked_count_;
  m.lodger = nullptr;
  f.machine = nullptr;
  f.locks = 0;
  --f.pins;
}

/// On g0 of a machine with a lodger that has left: until it is called, and then it runs.
void Scheduler::run_lodger(Machine& m) noexcept {
  Fiber& f = *m.lodger;
  m.seat.wait();
  locked_turns_.fetch_add(1, std::memory_order_relaxed);
  // Its place may be gone.
  m.stand_in.slot = slots_[m.stand_in.slot->index % gomaxprocs()].get();
  begin_run(m, f);
  fiber::switch_context(m.g0, f.context, m.eh, false);
  finish_switch();
}

/// On g0: a machine with its stand-in, and no lodger any more.
void Scheduler::leave_stand_in(Machine& m) noexcept {
  m.processor = nullptr;
  List<SectionWaiter> admitted;
  {
    const LockGuard guard(structure_lock_);
    for (std::size_t i = 0; i < m.stand_in.stats.parks.size(); ++i)
      external_.stats.parks[i].add(m.stand_in.stats.parks[i].take());
    if (!stopping_.load(std::memory_order_relaxed)) put_spare(m);
    admit_sections(0, admitted);
  }
  wake_admitted(admitted);
}

LockThread::LockThread() {
  if (const std::error_code error = Scheduler::lock_thread()) throw std::system_error(error, "LockThread");
}

LockThread::~LockThread() { Scheduler::unlock_thread(); }

}  // namespace fiberd::runtime
