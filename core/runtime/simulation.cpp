#include "core/runtime/simulation.hpp"

#include <exception>
#include <system_error>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/fiber/context.hpp"
#include "core/metric/shard.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

// A simulation lives for a fraction of a millisecond; carving and guarding its stacks would be most of it. So they are
// handed from one to the next, unless a deadlock left fibers on them or a large run made very many.
namespace {
constexpr std::uint64_t kStacksToKeep = 4096;
constinit Lock kept_lock;
std::unique_ptr<fiber::StackPool> kept_stacks FIBERD_GUARDED_BY(kept_lock);
}  // namespace

std::error_code Scheduler::take_simulation_stacks() {
  fiber::StackPool::Options options;
  options.stack_size = options_.stack_size;
  options.mode = options_.stack_guards;
  options.caches = 2;  // the Processor's, and the one for threads outside
  options.max_stacks = std::size_t{1} << 18U;
  other_stacks_.configure(options, options_.small_stack_size, options_.large_stack_size);
  {
    const LockGuard guard(kept_lock);
    stacks_ = std::move(kept_stacks);
  }
  if (stacks_ != nullptr) return {};
  auto stacks = fiber::StackPool::create(options);
  if (!stacks) return stacks.error();
  stacks_ = std::move(*stacks);
  return {};
}

void Scheduler::keep_simulation_stacks() noexcept {
  flush_stacks(external_);
  for (const auto& p : processors_) flush_stacks(*p);
  const fiber::StackPool::Stats stats = stacks_->stats();
  if (FIBERD_BUG_IF(stats.in_use != 0 || stats.credits != 0) || stats.carved > kStacksToKeep) return;
  const LockGuard guard(kept_lock);
  kept_stacks = std::move(stacks_);
}

void Scheduler::abandon_fibers() {
  // Their functions are kept for ever, reachable: destroying them would use what stands on the abandoned stacks.
  static auto* const abandoned = new std::vector<UniqueFunction>;
  for (std::uint32_t i = 1, n = table_.size(); i < n; ++i)
    if (Fiber& f = table_.at(i); f.function) abandoned->push_back(std::move(f.function));
}

std::int64_t Scheduler::simulated_clock() noexcept { return instance()->sim_now_; }

Fiber* Scheduler::pick_simulated(Machine& m) noexcept {
  Processor& p = *m.processor;
  TimerHeap& timers = slots_[0]->poller.timers;
  for (;;) {
    p.now = sim_now_;
    if (!sim_queue_.empty()) {
      const std::uint32_t i = sim_random_.below(static_cast<std::uint32_t>(sim_queue_.size()));
      Fiber* const f = sim_queue_[i];
      sim_queue_[i] = sim_queue_.back();
      sim_queue_.pop_back();
      // Time passes while fibers run, too; otherwise a deadline could never come between two runnable fibers.
      sim_now_ += sim_random_.below(1000);
      timers.run(sim_now_);
      return f;
    }
    // What is left in the heap then are timers that were disarmed: no reason to let hours pass.
    if (live_fibers() == 0) return nullptr;
    const std::int64_t next = timers.earliest();
    if (next == INT64_MAX) return nullptr;
    sim_now_ = std::max(sim_now_, next);
    timers.run(sim_now_);
  }
}

bool Scheduler::run_simulated() noexcept {
  Machine m;
  m.scheduler = this;
  m.eh = fiber::thread_eh_globals();
  {
    const LockGuard guard(structure_lock_);
    (void)prepare_slot(0);
    m.processor = new_processor(*slots_[0]);
    slots_[0]->processor.store(m.processor, std::memory_order_release);
    gomaxprocs_.store(1, std::memory_order_release);
  }
  Machine* const outer = thread_locals()->machine;
  const std::uint32_t outer_shard = thread_locals()->shard;
  thread_locals()->machine = &m;
  thread_locals()->shard = m.processor->shard;
  fiber::init_thread_context(m.g0);
  while (Fiber* const f = find_runnable(m)) {
    begin_run(m, *f);
    fiber::switch_context(m.g0, f->context, m.eh, false);
    finish_switch();
  }
  thread_locals()->machine = outer;
  thread_locals()->shard = outer_shard;
  metric::ShardAllocator::release(m.processor->shard);
  return live_fibers() == 0;
}

Simulation::Outcome Simulation::run(UniqueFunction main) {
  auto created = Scheduler::create({.stack_size = 256 * 1024, .stack_guards = fiber::GuardMode::canary},
                                   Scheduler::Kind::simulated, seed_ + 1);
  if (!created) throw std::system_error(created.error());
  Scheduler& s = **created;
  s.sim_now_ = 1'000'000'000;
  set_clock_source(&Scheduler::simulated_clock);
  std::exception_ptr exception;
  UniqueFunction wrapped([&exception, &main] {
    try {
      main();
    } catch (...) {
      exception = std::current_exception();
    }
  });
  Outcome outcome;
  // prepare_slot must come before the first spawn: ready() needs no slot, timers do.
  const std::error_code refused = s.spawn({.name = "main"}, wrapped, SourceLocation::current());
  if (!refused) outcome.deadlock = !s.run_simulated();
  if (outcome.deadlock) {
    s.for_each_parked_fiber([&](const Fiber& f) { outcome.report += s.describe_parked(f) + "\n"; });
    s.abandon_fibers();
  }
  const MemStats stats = s.read_mem_stats(false);
  outcome.fibers = stats.fibers_created;
  outcome.switches = stats.switches;
  outcome.elapsed_ns = s.sim_now_ - 1'000'000'000;
  set_clock_source(nullptr);
  if (!refused && !outcome.deadlock) s.keep_simulation_stacks();
  if (refused) throw std::system_error(refused);
  if (exception) std::rethrow_exception(exception);
  return outcome;
}

}  // namespace fiberd::runtime
