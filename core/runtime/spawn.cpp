// Birth and death of a fiber.
//
// spawn binds no stack: a thousand fibers that are spawned at once and end without waiting all run on the same hot
// stack, one after the other. What spawn takes is a *credit* for one (stack_pool.hpp), so that lack of stacks is an
// error at spawn, where somebody can answer it, and never at the first run, where nobody can. Some fibers and stacks
// are set aside for those who report and stop (spawn_reserved): a daemon that is full must still say so, and drain.
//
// A fiber that ends and finds a fiber that never ran next in its queue becomes that fiber: the new one inherits stack
// and context, and no switch happens at all.
#include <bit>
#include <exception>
#include <string>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/base/probe.hpp"
#include "core/fiber/local.hpp"
#include "core/runtime/errc.hpp"
#include "core/runtime/recover.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

static constexpr std::uint32_t kFreeFibers = 256;
static constexpr std::uint64_t kIdBlock = 1024;

std::uint64_t Scheduler::next_id(Processor& p) noexcept {
  if (p.next_id == p.last_id) {
    p.next_id = next_id_.fetch_add(kIdBlock, std::memory_order_relaxed);
    p.last_id = p.next_id + kIdBlock;
  }
  return p.next_id++;
}

Fiber* Scheduler::take_free_fiber(Processor& p) noexcept {
  if (p.free_fibers == nullptr) {
    {
      const LockGuard guard(free_lock_);
      while (free_fibers_ != nullptr && p.free_count < kFreeFibers / 2) {
        Fiber* const f = free_fibers_;
        free_fibers_ = f->next;
        f->next = p.free_fibers;
        p.free_fibers = f;
        ++p.free_count;
      }
    }
    if (p.free_fibers == nullptr) {
      p.free_fibers = table_.grow();
      for (const Fiber* f = p.free_fibers; f != nullptr; f = f->next) ++p.free_count;
    }
    if (p.free_fibers == nullptr) return nullptr;
  }
  Fiber* const f = p.free_fibers;
  p.free_fibers = f->next;
  --p.free_count;
  return f;
}

/// Before anybody else spawns. Where memory is out already there is nothing to set aside.
void Scheduler::set_fibers_aside() noexcept {
  const LockGuard guard(free_lock_);
  while (reserved_count_ < options_.reserve) {
    Fiber* f = free_fibers_ != nullptr ? free_fibers_ : table_.grow();
    if (f == nullptr) return;
    free_fibers_ = f->next;
    f->next = reserved_fibers_;
    reserved_fibers_ = f;
    ++reserved_count_;
  }
}

/// An ordinary one when there is one, and then what was taken of those set aside is replaced first.
Fiber* Scheduler::take_reserved_fiber(Processor& p, fiber::StackClaim claim) noexcept {
  for (;;) {
    Fiber* const f = take_free_fiber(p);
    const LockGuard guard(free_lock_);
    if (f != nullptr && reserved_count_ >= options_.reserve) return f;
    if (f != nullptr) {
      f->next = reserved_fibers_;
      reserved_fibers_ = f;
      ++reserved_count_;
      continue;
    }
    const unsigned kept = claim == fiber::StackClaim::finish ? 0 : options_.reserve_final;
    if (reserved_count_ <= kept) return nullptr;
    Fiber* const last = reserved_fibers_;
    reserved_fibers_ = last->next;
    --reserved_count_;
    return last;
  }
}

void Scheduler::give_back_fibers(Processor& p, std::uint32_t keep) noexcept {
  const LockGuard guard(free_lock_);
  while (p.free_count > keep) {
    Fiber* const f = p.free_fibers;
    p.free_fibers = f->next;
    --p.free_count;
    f->next = free_fibers_;
    free_fibers_ = f;
  }
}

void Scheduler::recycle(Processor& p, Fiber& f) noexcept {
  f.status.set_owned(State::idle);
  pool_of(f.stack_class).unreserve(p.stacks_of(f.stack_class));
  f.next = p.free_fibers;
  p.free_fibers = &f;
  if (++p.free_count > 2 * kFreeFibers) give_back_fibers(p, kFreeFibers);
  p.site_counts[f.site].ended.add();
  drain_.ended(p.stats.ended);
}

[[gnu::noinline]] std::error_code Scheduler::take_other_credit(Processor& p, fiber::StackClass c) noexcept {
  fiber::StackPool* const pool = other_stacks_.find(c);
  if (pool != nullptr && pool->reserve(p.stacks_of(c))) return {};
  return c == fiber::StackClass::small   ? errc::out_of_small_stacks
         : c == fiber::StackClass::large ? errc::out_of_large_stacks
                                         : errc::out_of_stacks;
}

void Scheduler::flush_stacks(Processor& p) noexcept {
  stacks_->flush(p.stacks);
  for (std::size_t i = 1; i < fiber::kStackClasses; ++i) {
    const auto c = static_cast<fiber::StackClass>(i);
    if (fiber::StackPool* const pool = other_stacks_.find(c)) pool->flush(p.stacks_of(c));
  }
}

/// True when there is more to do.
bool Scheduler::trim_stacks() noexcept {
  bool more = stacks_->trim();
  for (std::size_t i = 1; i < fiber::kStackClasses; ++i)
    if (fiber::StackPool* const pool = other_stacks_.find(static_cast<fiber::StackClass>(i)))
      more = pool->trim() || more;
  return more;
}

/// The compiler's record of the place, which lives for ever; nullptr where it is more than one word.
template <class Location>
static const void* site_of(const Location& where) noexcept {
  if constexpr (sizeof where == sizeof(void*)) return std::bit_cast<const void*>(where);
  return nullptr;
}

std::error_code Scheduler::spawn(const SpawnOptions& options, UniqueFunction& function, SourceLocation where) {
  Machine* const m = Machine::current_machine();
  // Nothing is kept in a stand-in.
  const bool local = m != nullptr && m->processor != nullptr && !m->has_stand_in();
  std::error_code refused;
  if (Admission* const admission = admission_.load(std::memory_order_acquire))
    refused = error_of(admission->admit(options.name));
  const std::uint16_t site = sites_.find(where, options.name);
  const SitePlan plan = sites_.plan(site);
  fiber::StackClass stack_class = fiber::StackClass::normal;
  if (options.stack) [[unlikely]] {
    stack_class = *options.stack;
    // Before any lock: system calls. Where it fails the credit does, too.
    if (stack_class != fiber::StackClass::normal && !refused) (void)other_stacks_.get(stack_class, *stacks_);
  } else if (options.claim == fiber::StackClaim::ordinary) {
    stack_class = plan.stack_class();
  }

  Fiber* f = nullptr;
  std::uint64_t id = 0;
  bool measured = false;
  {
    if (!local) external_lock_.lock();
    Processor& p = local ? *m->processor : external_;
    if (!refused) {
      if (stack_class != fiber::StackClass::normal) [[unlikely]] {
        refused = take_other_credit(p, stack_class);
        // Nobody is refused for want of what was learnt.
        if (refused && !options.stack) {
          stack_class = fiber::StackClass::normal;
          refused = {};
        }
      }
      if (stack_class == fiber::StackClass::normal && !stacks_->reserve(p.stacks, options.claim)) [[unlikely]]
        refused = errc::out_of_stacks;
    }
    if (!refused &&
        (f = options.claim == fiber::StackClaim::ordinary ? take_free_fiber(p)
                                                          : take_reserved_fiber(p, options.claim)) == nullptr) {
      pool_of(stack_class).unreserve(p.stacks_of(stack_class));
      refused = std::make_error_code(std::errc::not_enough_memory);
    }
    if (f != nullptr) {
      p.stats.created.add();
      OwnedCounter& spawned = p.site_counts[site].spawned;
      spawned.add();
      measured = plan.measures(spawned.get());
      id = next_id(p);
    } else {
      p.stats.refused.add();
    }
    if (!local) external_lock_.unlock();
  }
  if (f == nullptr) {
    refusals_.add(refused);
    return refused;
  }
  f->origin.set({id, options.name, where});
  f->stack_class = stack_class;
  f->site = site;
  f->measured = measured;
  f->function = std::move(function);
  f->pins = 0;
  f->locks = 0;
  if (options.processor != kAnyProcessor) [[unlikely]] {
    f->pins = 1;
    f->pin_slot = static_cast<std::uint16_t>(options.processor % gomaxprocs());
  }
  f->status.set_owned(State::runnable);
  const std::uint64_t spawned = trace_word(TraceKind::spawn, f->index, static_cast<std::uint32_t>(id));
  if (local) [[likely]]
    m->processor->trace.record(spawned, site_of(where), options.name.text().data());
  else
    tracer_.record_outside(spawned, site_of(where), options.name.text().data());
  FIBERD_PROBE3(fiber__spawn, id, f->index, options.name.text().data());
  ready(*f, true);
  // Not from within a Lock: it must not be taken to another thread.
  if (local && m->current != nullptr && thread_locals()->lock_depth == 0) enter_runtime();
  return {};
}

void SpawnRefusals::add_new(std::error_code reason) noexcept {
  const LockGuard guard(lock_);
  std::size_t used = used_.load(std::memory_order_relaxed);
  std::size_t i = 0;
  while (i < used && reasons_[i] != reason) ++i;
  if (i == kSpawnRefusals) i = kSpawnRefusals - 1;
  if (i == used) {
    reasons_[i] = reason;
    used_.store(used + 1, std::memory_order_release);
  }
  counts_[i].fetch_add(1, std::memory_order_relaxed);
}

std::uint64_t Scheduler::live_fibers() const noexcept {
  // Ends are read before births: a fiber is never counted as ended and not as created, so 0 means 0.
  std::uint64_t ended = external_.stats.ended.get();
  const LockGuard guard(structure_lock_);
  for (const auto& p : processors_) ended += p->stats.ended.get();
  std::uint64_t created = external_.stats.created.get();
  for (const auto& p : processors_) created += p->stats.created.get();
  return created - ended;
}

static void log_panic(const FiberOrigin& f, const Recovered& thrown) noexcept {
  try {
    const std::string line =
        describe_origin(f) + " ended by an exception: " + thrown.what() + "; thrown at:" + thrown.trace();
    log(LogLevel::error, line);
  } catch (...) {
    log(LogLevel::error, "a fiber ended by an exception, and memory to describe it is out");
  }
}

void Scheduler::report_panic(const FiberOrigin& fiber, const Recovered& thrown) noexcept {
  log_panic(fiber, thrown);
  Machine* const m = Machine::current_machine();
  if (m != nullptr && m->processor != nullptr && !m->has_stand_in()) {
    m->processor->stats.panicked.add();
  } else {
    const LockGuard guard(external_lock_);
    external_.stats.panicked.add();
  }
}

void report_panic(const FiberOrigin& fiber, const Recovered& thrown) noexcept {
  if (Scheduler* const s = Scheduler::instance()) return s->report_panic(fiber, thrown);
  log_panic(fiber, thrown);
}

FiberOrigin current_origin() noexcept {
  const Machine* const m = Machine::current_machine();
  if (m == nullptr || m->current == nullptr) return {};
  return m->current->origin.get();
}

void Scheduler::run_function(Fiber& f) noexcept {
  try {
    f.function();
  } catch (...) {
    runtime::report_panic(f.origin.get(), Recovered(std::current_exception()));
  }
  // What the callable owns is destroyed here, still on the fiber: destructors may park.
  try {
    f.function.reset();
    fiber::destroy_locals(f.locals);
  } catch (...) {
    log_panic(f.origin.get(), Recovered(std::current_exception()));
  }
}

void Scheduler::fiber_main(void* /*argument*/) noexcept {
  static constexpr auto kEnded = static_cast<std::uint32_t>(After::end);
  finish_switch();
  for (;;) {
    Fiber& self = *Machine::current_machine()->current;
    if (self.measured) [[unlikely]]
      Machine::current_machine()->scheduler->begin_measuring(self);
    run_function(self);
    if (self.measured) [[unlikely]]
      Machine::current_machine()->scheduler->end_measuring(self);
    if (Machine::current_machine()->has_stand_in()) [[unlikely]]
      leave_thread(self);
    Machine& m = *Machine::current_machine();
    Scheduler& s = *m.scheduler;
    Processor& p = *m.processor;
    Fiber* const next = s.kind_ == Kind::real ? pick_fast(p) : nullptr;
    if (next == nullptr || next->stack.load(std::memory_order_relaxed) != nullptr ||
        next->stack_class != self.stack_class) {
      m.previous = &self;
      m.after = After::end;
      if (next != nullptr) {
        s.begin_run(m, *next, kEnded);
      } else {
        p.trace.record(trace_word(TraceKind::stop, self.index, kEnded));
        m.current = nullptr;
      }
      fiber::switch_context(self.context, next != nullptr ? next->context : m.g0, m.eh, true);
      report_bug("a fiber that ended was resumed");
      std::abort();
    }
    next->stack.store(self.take_stack(), std::memory_order_release);
    next->context = self.context;
    s.recycle(p, self);
    s.begin_run(m, *next, kEnded);
  }
}

}  // namespace fiberd::runtime
