// Replacing Processors: hand-off of a held one, changes of GOMAXPROCS.
//
// A machine cannot be made to let go of its Processor at a safe moment from outside; so nothing is taken from it (but
// in a blocking section, where it has let go: blocking_section.cpp). The Processor is marked retired and stays with its
// machine (the fiber goes on using its caches and counters, owner as before), while a new Processor with a machine of
// its own takes the Slot: the Poller, the timers, the pinned fibers, and what is queued. (It was left to thieves once;
// but who has work of his own does not steal, and beside a busy global queue those fibers waited until the held one
// came back.) What comes into the retired queue afterwards stays visible to thieves. At its next entry into the runtime
// the machine drains what is left into the global queue, gives its caches back and waits for another assignment.
//
// Only structure_lock_ holders retire or assign. Who is retired, and how thieves find it: retired_list.hpp.
#include <signal.h>

#include <utility>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"
#include "core/base/quiet_thread.hpp"
#include "core/metric/shard.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

std::error_code Scheduler::prepare_slot(unsigned index) {
  if (slots_[index] != nullptr) return {};
  auto slot = std::make_unique<Slot>();
  slot->index = index;
  if (kind_ == Kind::real) {
    if (const Result<void> opened = slot->poller.open(); !opened) return opened.error();
    for (AcceptorRecord* a = acceptors_.front(); a != nullptr; a = acceptors_.after(*a))
      if (!a->suspended)
        if (const std::error_code error = slot->poller.add_acceptor(*a)) return error;
  }
  idle_.cover(index);
  slots_[index] = std::move(slot);
  if (slot_count_.load(std::memory_order_relaxed) <= index) slot_count_.store(index + 1, std::memory_order_release);
  return {};
}

Processor* Scheduler::new_processor(Slot& slot) noexcept {
  Processor* p = free_processors_;
  if (p != nullptr) {
    free_processors_ = p->next_free;
  } else {
    auto owned = std::unique_ptr<Processor>(new (std::nothrow) Processor(options_.random_seed + processors_.size()));
    if (owned == nullptr) return nullptr;
    p = owned.get();
    if (kind_ == Kind::real) tracer_.attach(p->trace);
    processors_.push_back(std::move(owned));
  }
  p->slot = &slot;
  p->shard = metric::ShardAllocator::acquire();
  p->now = p->window_start = monotonic_now();
  p->phase.store(Processor::Phase::scheduling, std::memory_order_relaxed);
  p->pin.reset();
  p->retired.store(false, std::memory_order_release);
  p->by_sysmon = false;
  Tracer::put(p->trace, slot.index);
  return p;
}

/// Under structure_lock_. nullptr: there are as many as there may be, or as the system allows.
Machine* Scheduler::idle_machine() noexcept {
  if (spare_machines_ != nullptr) {
    Machine* const m = spare_machines_;
    spare_machines_ = m->next;
    m->next = nullptr;
    spare_least_ = std::min(spare_least_, --spare_count_);
    return m;
  }
  if (machines_.size() >= machine_limit()) return nullptr;
  auto owned = std::unique_ptr<Machine>(new (std::nothrow) Machine);
  if (owned == nullptr) return nullptr;
  Machine* const m = owned.get();
  m->scheduler = this;
  m->place = machines_.size();
  m->stand_in.random = Random(options_.random_seed - machines_.size() - 1);
  m->stand_in.retired.store(true, std::memory_order_relaxed);
  tracer_.forward(m->stand_in.trace);
  // Faults stay deliverable: the overflow report needs them. So does what asks for a look (fiber_list.cpp).
  const int error = create_quiet_thread(m->thread, &Scheduler::machine_main, m,
                                        {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP, SIGURG});
  if (error != 0) {
    system_limit_ = static_cast<unsigned>(machines_.size());
    thread_error_ = error;
    return nullptr;
  }
  machines_.push_back(std::move(owned));
  return m;
}

void Scheduler::assign(Machine& m, Processor& p) noexcept {
  p.slot->processor.store(&p, std::memory_order_release);
  m.assigned.store(&p, std::memory_order_release);
  m.wakeups.fetch_add(1, std::memory_order_release);
  m.wakeups.notify_one();
}

bool Scheduler::wait_for_processor(Machine& m) noexcept {
  for (;;) {
    const std::uint32_t seen = m.wakeups.load(std::memory_order_acquire);
    if (Processor* const p = m.assigned.exchange(nullptr, std::memory_order_acq_rel)) {
      m.processor = p;
      p->thread.store(m.tid.load(std::memory_order_relaxed), std::memory_order_relaxed);
      thread_locals()->shard = p->shard;
      return true;
    }
    if (stopping_.load(std::memory_order_acquire) || m.ending.load(std::memory_order_acquire)) return false;
    m.wakeups.wait(seen, std::memory_order_acquire);
  }
}

/// Under structure_lock_. What a Processor that is held up, or retired by now, would have run next becomes everybody's.
void Scheduler::share_runnext(Processor& p) noexcept {
  if (Fiber* const f = p.runnext.take()) {
    global_.push(*f);
    wake_helper();
  }
}

/// Under structure_lock_, of a retired Processor. Two machines must not sleep in one Poller: what wakes one of them
/// would be meant for the other, and so would its place in the idle set. This one sees that it is retired either before
/// it touches them or when it is woken; afterwards it has left both.
void Scheduler::rouse(Processor& p) noexcept {
  while (p.phase.load(std::memory_order_seq_cst) == Processor::Phase::sleeping) {
    p.slot->poller.wake();
    const timespec pause{0, 50'000};
    nanosleep(&pause, nullptr);
  }
}

/// Under structure_lock_. Puts a new Processor in the place of `p`, which a machine keeps.
bool Scheduler::replace(Processor& p) noexcept {
  if (p.retired.load(std::memory_order_relaxed) || stopping_.load(std::memory_order_relaxed)) return false;
  if (retired_.full()) return false;
  Processor* const fresh = new_processor(*p.slot);
  Machine* const m = fresh != nullptr ? idle_machine() : nullptr;
  // Its fiber may have pinned itself since sysmon looked.
  if (m == nullptr || !p.pin.replace()) {
    if (m != nullptr) put_spare(*m);
    if (fresh != nullptr) {
      metric::ShardAllocator::release(fresh->shard);
      fresh->next_free = free_processors_;
      free_processors_ = fresh;
    }
    return false;
  }
  retired_.add(p);
  p.retired.store(true, std::memory_order_seq_cst);
  rouse(p);
  // Nobody has the fresh one yet, so its queue is ours.
  while (p.queue.steal_half(fresh->queue) != 0) {
  }
  handoffs_.fetch_add(1, std::memory_order_relaxed);
  tracer_.record_outside(trace_word(TraceKind::handoff, 0, p.slot->index));
  assign(*m, *fresh);
  return true;
}

/// On g0 of the machine that has the retired Processor.
void Scheduler::leave_processor(Machine& m) noexcept {
  if (m.own != nullptr) {
    (void)end_section(m);
    return;
  }
  if (m.has_stand_in()) {
    leave_stand_in(m);
    return;
  }
  Processor& p = *m.processor;
  // A token that came with a wake-up is passed on, like the work.
  bool moved = m.spinning;
  if (m.spinning) {
    m.spinning = false;
    idle_.stop_spinning();
  }
  if (Fiber* const f = p.runnext.exchange(nullptr)) {
    global_.push(*f);
    moved = true;
  }
  while (Fiber* const f = p.queue.pop()) {
    global_.push(*f);
    moved = true;
  }
  flush_stacks(p);
  give_back_fibers(p, 0);
  m.processor = nullptr;
  thread_locals()->shard = 0;
  {
    const LockGuard guard(structure_lock_);
    retired_.remove(p);
    if (p.by_sysmon) sysmon_.handoff_over();
    sysmon_.stalls().over(p, monotonic_now());
    Processor* self = &p;
    p.slot->processor.compare_exchange_strong(self, nullptr, std::memory_order_acq_rel);
    metric::ShardAllocator::release(p.shard);
    p.phase.store(Processor::Phase::free, std::memory_order_relaxed);
    p.next_free = free_processors_;
    free_processors_ = &p;
    if (!stopping_.load(std::memory_order_relaxed)) put_spare(m);
  }
  if (moved && work_anywhere()) wake_helper();
}

/// Retires the Processors from place `now` on. False: some are left, since the list of retired ones is full.
bool Scheduler::retire_from(unsigned now) {
  std::vector<std::pair<Slot*, Processor*>> leaving;
  bool all = true;
  {
    const LockGuard guard(structure_lock_);
    if (gomaxprocs_.load(std::memory_order_relaxed) != now) return true;  // somebody else's business by now
    for (unsigned i = now; i < slot_count_.load(std::memory_order_relaxed); ++i) {
      Processor* const p = slots_[i]->processor.load(std::memory_order_acquire);
      if (p == nullptr || p->retired.load(std::memory_order_relaxed)) continue;
      if (!retired_.add(*p)) {
        all = false;
        break;
      }
      p->retired.store(true, std::memory_order_seq_cst);
      share_runnext(*p);
      leaving.emplace_back(slots_[i].get(), p);
    }
  }
  // Sleepers among those that leave must notice; and pinned fibers queued at a place that is gone must move.
  for (const auto& [slot, p] : leaving) {
    const auto asleep = [slot = slot, p = p] {
      return slot->processor.load(std::memory_order_acquire) == p && p->retired.load(std::memory_order_relaxed) &&
             p->phase.load(std::memory_order_seq_cst) == Processor::Phase::sleeping;
    };
    for (int i = 0; i < 1000 && asleep(); ++i) {
      slot->poller.wake();
      const timespec pause{0, 100'000};
      nanosleep(&pause, nullptr);
    }
    while (Fiber* const f = pop_pinned(*slot)) push_pinned(*f);
  }
  return all;
}

void Scheduler::set_gomaxprocs(unsigned n) {
  n = std::min(std::max(n, 1U), most_processors_);
  unsigned now = 0;
  {
    const LockGuard guard(structure_lock_);
    const unsigned before = gomaxprocs_.load(std::memory_order_relaxed);
    // Pollers beyond the old number were watched by the remaining ones.
    for (unsigned i = before; i < slot_count_.load(std::memory_order_relaxed) && before != 0; ++i)
      slots_[i % before]->poller.release(slots_[i]->poller);
    unsigned started = 0;
    for (unsigned i = before; i < n; ++i) {
      if (const std::error_code error = prepare_slot(i)) {
        log(LogLevel::error, "GOMAXPROCS " + std::to_string(n) + ": Processor " + std::to_string(i) +
                                 " cannot be set up: " + error.message());
        break;
      }
      Slot& slot = *slots_[i];
      if (Processor* const here = slot.processor.load(std::memory_order_acquire)) {
        if (!here->retired.load(std::memory_order_relaxed)) {
          // A lowering on another thread has not come to this one yet: it stays.
          gomaxprocs_.store(i + 1, std::memory_order_release);
          ++started;
          continue;
        }
        // That lowering may not have woken it yet.
        rouse(*here);
      }
      Processor* const p = new_processor(slot);
      Machine* const m = p != nullptr ? idle_machine() : nullptr;
      if (m == nullptr) {
        const bool ours = machines_.size() >= machine_limit() && thread_error_ == 0;
        log(LogLevel::error,
            "GOMAXPROCS " + std::to_string(n) + " stays at " + std::to_string(before + started) +
                ": no thread for one more Processor: " + std::to_string(machines_.size()) + " exist, " +
                (ours ? "the most there may be (machines_max; locked fibers keep theirs)"
                      : "and the system gives no more (" + std::generic_category().message(thread_error_) + ")"));
        if (p != nullptr) {
          metric::ShardAllocator::release(p->shard);
          p->next_free = free_processors_;
          free_processors_ = p;
        }
        break;
      }
      // Before the machine runs: it divides by the number.
      gomaxprocs_.store(i + 1, std::memory_order_release);
      assign(*m, *p);
      ++started;
    }
    now = n < before ? n : before + started;
    // Before the pinned queues of the places that go are emptied: push_pinned looks at it after queueing.
    gomaxprocs_.store(now, std::memory_order_seq_cst);
    for (unsigned i = now; i < slot_count_.load(std::memory_order_relaxed) && now != 0; ++i)
      slots_[i % now]->poller.adopt(slots_[i]->poller);
  }
  while (!retire_from(now)) {
    const timespec pause{0, 1'000'000};
    nanosleep(&pause, nullptr);
  }
  // Whoever sleeps has computed until when without the timers that are its now.
  for (unsigned i = 0; i < now; ++i)
    if (slots_[i]->poller.sleeping.load(std::memory_order_seq_cst)) slots_[i]->poller.wake();
  wake_helper();
}

}  // namespace fiberd::runtime
