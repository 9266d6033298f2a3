// Blocking sections: a call that blocks the thread, made on a fiber's own stack.
//
// "sysmon replaces, it never takes" (handoff.cpp), since a machine that computes cannot be made to let go. In a section
// it is the machine itself that lets go: it says so in its Processor's word (section_word.hpp) and from then on works
// with a stand-in of its own. That is all a short call pays for, a few stores and one CAS to have the Processor back:
// no lock, no cache is flushed, no thread is woken. Only a section that lasts has its Processor *retaken*: sysmon sees
// the same section twice, at least 20 µs apart while something waits for the Processor (a fiber, a timer), else a
// millisecond, and gives the whole Processor as it is, queue, caches and Poller, to another machine. The machine finds
// out when its call is over: its fiber queues for a Processor, the machine becomes a spare one.
//
// The stand-in. Code inside a section may call whatever it called before: wake and spawn fibers, arm timers, count. All
// of that finds a Processor which is retired, and for ever: what is made runnable goes to the global queue, and nothing
// is kept in it (spawn uses the books of threads outside). A wait ends the section, whatever of it is still to come
// (the fiber will not be alone on its thread any more): on g0 the machine takes its own Processor back if it can.
//
// How many. Each retaken section holds a thread, so there is a bound: `machines_max`, or less where the system gives no
// more threads (which is learnt from pthread_create and forgotten after a second). As long as one could not replace the
// machines of all Processors at once, who begins a section waits, as a fiber, until one of those that block is over; so
// the others always have all their Processors. When threads are out before any section was retaken there is nobody to
// wait for: the call then holds its Processor as any long computation does. All three are counted, the two latter also
// logged, once a minute.
//
// Rejected: handing off at the beginning of each section (3 µs and a thread's wake-up for a read of a file that is in
// the page cache); no Processor at all in the machine (m.processor == nullptr would be one more test on each way into
// the runtime); letting the section's thread go on beyond the bound (Go aborts there).
#include <algorithm>
#include <string>

#include "core/base/log.hpp"
#include "core/metric/shard.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

static constexpr unsigned kSparesKept = 4;        // beside one for each Processor
static constexpr unsigned kEndedPerSecond = 128;  // spare machines

// ---------------------------------------------------------------------------------------------- the machine's side

bool Scheduler::enter_section() noexcept {
  Machine* m = Machine::current_machine();
  if (m == nullptr || m->current == nullptr || m->inside || m->current->pins != 0) return false;
  Scheduler& s = *m->scheduler;
  if (s.kind_ == Kind::simulated) return false;
  if (s.sections_wait_.load(std::memory_order_relaxed)) [[unlikely]] {
    // In the middle of a wait there can be no other.
    if (m->current->status.state() == State::running) s.wait_for_section();
    m = Machine::current_machine();
  }
  Processor& p = *m->processor;
  // Somebody else serves its place already, or nobody shall.
  if (p.retired.load(std::memory_order_relaxed)) [[unlikely]]
    return false;
  p.trace.record(trace_word(TraceKind::section_begin, 0, 0));
  m->stand_in.slot = p.slot;
  m->stand_in.now = p.now;
  m->own = &p;
  m->inside = true;
  m->processor = &m->stand_in;
  thread_locals()->shard = 0;
  m->section = p.section.enter();
  s.sysmon_.section_begins();
  return true;
}

void Scheduler::leave_section() noexcept {
  Machine& m = *Machine::current_machine();
  if (!m.inside) return;  // a wait ended it
  m.inside = false;
  if (m.own->section.leave(m.section)) [[likely]] {
    m.processor = std::exchange(m.own, nullptr);
    thread_locals()->shard = m.processor->shard;
  }
  m.processor->trace.record(trace_word(TraceKind::section_end, 0, 0));
  // Retaken: what the machine has is the stand-in, which is retired as any that was replaced.
  if (m.processor->retired.load(std::memory_order_relaxed)) [[unlikely]]
    enter_runtime();
}

/// On g0: the fiber left, inside the section or after its Processor was taken. True: the Processor is the machine's
/// again.
bool Scheduler::end_section(Machine& m) noexcept {
  m.inside = false;
  Processor& p = *std::exchange(m.own, nullptr);
  // Waits inside of sections are counted in the stand-in, which nobody adds up.
  const auto count_waits = [&m](ProcessorStats& stats) {
    for (std::size_t i = 0; i < stats.parks.size(); ++i) stats.parks[i].add(m.stand_in.stats.parks[i].take());
  };
  if (p.section.leave(m.section)) {
    count_waits(p.stats);
    m.processor = &p;
    thread_locals()->shard = p.shard;
    p.phase.store(Processor::Phase::scheduling, std::memory_order_relaxed);
    return true;
  }
  m.processor = nullptr;
  List<SectionWaiter> admitted;
  {
    const LockGuard guard(structure_lock_);
    count_waits(external_.stats);
    --sections_blocked_;
    put_spare(m);
    admit_sections(1, admitted);
  }
  wake_admitted(admitted);
  return false;
}

// ---------------------------------------------------------------------------------------------- taking it

/// Under structure_lock_. How many sections more may last before the machines of all Processors could not be replaced
/// at once.
unsigned Scheduler::section_room() const noexcept {
  const auto in_use = static_cast<unsigned>(machines_.size()) - spare_count_;
  const unsigned wanted = in_use + gomaxprocs_.load(std::memory_order_relaxed);
  const unsigned limit = machine_limit();
  // Without one that blocks there is none whose end would be told.
  return sections_blocked_ == 0 ? ~0U : wanted < limit ? limit - wanted : 0;
}

/// Under structure_lock_. Takes waiters out, at least `least`, and says whether who comes from now on has to wait.
void Scheduler::admit_sections(unsigned least, List<SectionWaiter>& admitted) noexcept {
  for (unsigned n = std::max(least, section_room()); n != 0 && !section_waiters_.empty(); --n)
    admitted.push_back(*section_waiters_.pop_front());
  sections_wait_.store(!section_waiters_.empty() || section_room() == 0, std::memory_order_relaxed);
}

void Scheduler::wake_admitted(List<SectionWaiter>& admitted) noexcept {
  while (const SectionWaiter* const waiter = admitted.pop_front()) wake(Ticket(waiter->ticket));
}

/// On a fiber, which is over the bound as it seems.
void Scheduler::wait_for_section() noexcept {
  SectionWaiter waiter;
  {
    const LockGuard guard(structure_lock_);
    if (section_waiters_.empty() && section_room() != 0) return;
    waiter.ticket = prepare_park(WaitReason::blocking);
    section_waiters_.push_back(waiter);
    sections_wait_.store(true, std::memory_order_relaxed);
    sections_waited_.fetch_add(1, std::memory_order_relaxed);
  }
  say_machines_are_out("wait for one another");
  park(waiter.ticket);
}

/// sysmon. Gives the Processor of a machine that is in `section` to another machine.
bool Scheduler::retake(Processor& p, std::uint64_t section) noexcept {
  bool out = false;
  {
    const LockGuard guard(structure_lock_);
    if (p.slot->processor.load(std::memory_order_relaxed) != &p || p.retired.load(std::memory_order_relaxed) ||
        stopping_.load(std::memory_order_relaxed))
      return false;
    Machine* const m = idle_machine();
    if (m != nullptr && p.section.take(section)) {
      ++sections_blocked_;
      sections_wait_.store(!section_waiters_.empty() || section_room() == 0, std::memory_order_relaxed);
      p.phase.store(Processor::Phase::scheduling, std::memory_order_relaxed);
      sections_retaken_.fetch_add(1, std::memory_order_relaxed);
      tracer_.record_outside(trace_word(TraceKind::retake, 0, p.slot->index));
      assign(*m, p);
      return true;
    }
    if (m != nullptr) {
      put_spare(*m);
    } else if (p.stalled_section != section) {
      p.stalled_section = section;
      sections_stalled_.fetch_add(1, std::memory_order_relaxed);
      sections_wait_.store(!section_waiters_.empty() || section_room() == 0, std::memory_order_relaxed);
      out = true;
    }
  }
  if (out) say_machines_are_out("hold their Processors");
  return false;
}

/// At most once a minute.
void Scheduler::say_machines_are_out(std::string_view consequence) noexcept {
  if (!machines_log_.pass(monotonic_now())) return;
  unsigned machines = 0;
  int error = 0;
  {
    const LockGuard guard(structure_lock_);
    machines = static_cast<unsigned>(machines_.size());
    error = thread_error_;
  }
  try {
    log(LogLevel::warning,
        "blocking sections " + std::string(consequence) + ": " + std::to_string(machines) + " scheduler threads " +
            (error != 0 ? "exist and the system gives no more (" + std::generic_category().message(error) + ")"
                        : "is the most there may be (machines_max)"));
  } catch (...) {
    log(LogLevel::warning, "blocking sections have run out of threads, and memory to describe it is out");
  }
}

// ---------------------------------------------------------------------------------------------- spare machines

unsigned Scheduler::machine_limit() const noexcept {
  // Whatever was asked for: the Processors themselves, as many to replace them, and those that sysmon hands off.
  const unsigned least = 2 * gomaxprocs_.load(std::memory_order_relaxed) + options_.handoff_max;
  return std::min(std::max(options_.machines_max, least), system_limit_);
}

/// Under structure_lock_.
void Scheduler::put_spare(Machine& m) noexcept {
  m.next = spare_machines_;
  spare_machines_ = &m;
  ++spare_count_;
}

/// sysmon, once a second: of the spare machines that nobody needed meanwhile some end. A burst of sections must not
/// leave its threads behind for ever.
void Scheduler::trim_machines() noexcept {
  std::vector<std::unique_ptr<Machine>> ended;
  List<SectionWaiter> admitted;
  try {
    ended.reserve(kEndedPerSecond);
  } catch (const std::bad_alloc&) {
    return;
  }
  {
    const LockGuard guard(structure_lock_);
    // What the system refused then it may give now.
    system_limit_ = ~0U;
    thread_error_ = 0;
    const unsigned kept = gomaxprocs_.load(std::memory_order_relaxed) + kSparesKept;
    unsigned excess = spare_least_ > kept ? std::min(spare_least_ - kept, kEndedPerSecond) : 0;
    for (; excess != 0 && spare_machines_ != nullptr; --excess) {
      Machine& m = *spare_machines_;
      spare_machines_ = m.next;
      --spare_count_;
      machines_.back()->place = m.place;
      std::swap(machines_[m.place], machines_.back());
      ended.push_back(std::move(machines_.back()));
      machines_.pop_back();
    }
    spare_least_ = spare_count_;
    admit_sections(0, admitted);
  }
  wake_admitted(admitted);
  for (const auto& m : ended) {
    m->ending.store(true, std::memory_order_release);
    m->wakeups.fetch_add(1, std::memory_order_release);
    m->wakeups.notify_one();
  }
  for (const auto& m : ended) pthread_join(m->thread, nullptr);
}

}  // namespace fiberd::runtime
