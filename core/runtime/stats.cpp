// Snapshots of the scheduler: sums over Processors, those in force and those that were.
#include "core/runtime/scheduler.hpp"
#include "core/runtime/unsent_values.hpp"

namespace fiberd::runtime {

static void add_counters(MemStats& out, const ProcessorStats& stats) noexcept {
  out.fibers_ended += stats.ended.get();
  out.fibers_created += stats.created.get();
  out.fibers_panicked += stats.panicked.get();
  out.spawns_refused += stats.refused.get();
  out.switches += stats.switches.get();
  out.steals += stats.steals.get();
  out.budget_yields += stats.budget_yields.get();
  for (std::size_t i = 0; i < out.parks.size(); ++i) out.parks[i] += stats.parks[i].get();
  for (std::size_t i = 0; i < out.latency_buckets.size(); ++i) out.latency_buckets[i] += stats.latency[i].get();
  out.latency_sum_ns += stats.latency_sum.get();
}

MemStats Scheduler::read_mem_stats(bool measure_stacks) const {
  MemStats out;
  out.gomaxprocs = gomaxprocs();
  refusals_.read(out.spawn_refusals);
  {
    const LockGuard guard(structure_lock_);
    add_counters(out, external_.stats);
    for (const auto& p : processors_) {
      add_counters(out, p->stats);
      const bool in_use = p->phase.load(std::memory_order_relaxed) != Processor::Phase::free;
      if (in_use) out.local_queue_depth += p->queue.size() + (p->runnext.empty() ? 0 : 1);
      if (p->phase.load(std::memory_order_relaxed) == Processor::Phase::running) ++out.fibers_running;
    }
    out.machines = static_cast<unsigned>(machines_.size()) - spare_count_;
    out.machines_spare = spare_count_;
    out.sections_blocked = sections_blocked_;
    out.fibers_running += sections_blocked_;
    out.threads_locked = locked_count_;
    if (locked_count_ != 0)
      for (const auto& m : machines_) {
        if (m->lodger == nullptr) continue;
        if (m->seat.awake()) ++out.fibers_running;
        for (std::size_t i = 0; i < out.parks.size(); ++i) out.parks[i] += m->stand_in.stats.parks[i].get();
      }
    for (unsigned i = 0; i < slot_count_.load(std::memory_order_relaxed); ++i) {
      const Poller& poller = slots_[i]->poller;
      out.poll_calls += poller.polls.load(std::memory_order_relaxed);
      out.poll_events += poller.events.load(std::memory_order_relaxed);
      out.poll_wakeups += poller.wakeups.load(std::memory_order_relaxed);
      out.poll_descriptors +=
          static_cast<std::uint64_t>(std::max<std::int64_t>(poller.descriptors.load(std::memory_order_relaxed), 0));
      out.timers_armed += poller.timers.size();
      out.timers_fired += poller.timers.fired();
    }
  }
  out.global_queue_depth = global_.size();
  out.handoffs = handoffs_.load(std::memory_order_relaxed);
  out.sections_retaken = sections_retaken_.load(std::memory_order_relaxed);
  out.sections_waited = sections_waited_.load(std::memory_order_relaxed);
  out.sections_stalled = sections_stalled_.load(std::memory_order_relaxed);
  out.locks_refused = locks_refused_.load(std::memory_order_relaxed);
  out.switches += locked_turns_.load(std::memory_order_relaxed);
  sysmon_.stalls().read(out);
  out.deadlocks = deadlocks_.load(std::memory_order_relaxed);
  out.channel_unsent = unsent_count();
  out.stacks_outgrown = sites_.outgrown_total();
  out.stacks_cooled = stacks_cooled_.load(std::memory_order_relaxed);
  out.stack_bytes_cooled = stack_bytes_cooled_.load(std::memory_order_relaxed);
  out.processors_idle = idle_.count();
  // Counters are read one after the other while fibers come and go: the differences are held at zero.
  const std::uint64_t live = out.fibers_created > out.fibers_ended ? out.fibers_created - out.fibers_ended : 0;
  out.fibers_running = std::min(out.fibers_running, live);
  out.fibers_runnable = std::min(out.local_queue_depth + out.global_queue_depth, live - out.fibers_running);
  out.fibers_waiting = live - out.fibers_running - out.fibers_runnable;

  read_stack_stats(out, measure_stacks);
  if (blocking_ != nullptr) {
    const BlockingPool::Stats blocking = blocking_->stats();
    out.blocking_threads = blocking.threads;
    out.blocking_busy = blocking.busy;
    out.blocking_queued = blocking.queued;
    out.blocking_jobs = blocking.jobs;
  }
  return out;
}

void Scheduler::read_stack_stats(MemStats& out, bool measure) const {
  for (std::size_t i = 0; i < fiber::kStackClasses; ++i) {
    const auto c = static_cast<fiber::StackClass>(i);
    StackClassStats& to = out.stack_classes[i];
    const fiber::StackPool* const pool = stack_pool(c);
    to.size = c == fiber::StackClass::normal ? pool->stack_size() : other_stacks_.size_of(c);
    if (pool == nullptr) continue;
    const fiber::StackPool::Stats stacks = pool->stats();
    to.in_use = stacks.in_use;
    to.cached = stacks.cached;
    to.most = stacks.most;
    to.bytes_reserved = stacks.reserved_bytes;
    if (measure) to.bytes_resident = pool->resident_bytes();
    out.stacks_in_use += to.in_use;
    out.stacks_cached += to.cached;
    out.stack_bytes_reserved += to.bytes_reserved;
    out.stack_bytes_resident += to.bytes_resident;
    out.stacks_unguarded += stacks.unguarded;
    if (c != fiber::StackClass::normal) continue;
    out.stacks_most = stacks.most;
    out.stacks_reserve = stacks.reserve;
    out.stacks_reserve_in_use = stacks.reserve_in_use;
    out.guard_kind = stacks.guard_kind;
  }
  if (measure) measure_high_water(out);
}

void Scheduler::measure_high_water(MemStats& out) const {
  // Deeper than this the walk costs more than it tells: a page-table look-up a stack.
  static constexpr std::uint32_t kSampled = 4096;
  std::uint32_t seen = 0;
  for (std::uint32_t i = 1, n = table_.size(); i < n && seen < kSampled; ++i) {
    const fiber::Stack* const stack = table_.at(i).stack.load(std::memory_order_acquire);
    if (stack == nullptr) continue;
    ++seen;
    std::uint64_t& deepest = out.stack_classes[static_cast<std::size_t>(stack->stack_class)].high_water;
    deepest = std::max<std::uint64_t>(deepest, stack_pool(stack->stack_class)->high_water(*stack));
    out.stack_high_water = std::max(out.stack_high_water, deepest);
  }
}

MemStats read_mem_stats(bool measure_stacks) { return Scheduler::instance()->read_mem_stats(measure_stacks); }

}  // namespace fiberd::runtime
