#include "core/runtime/processor_view.hpp"

#include <algorithm>

#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

static std::string_view to_string(Processor::Phase phase) noexcept {
  switch (phase) {
    case Processor::Phase::free: return "free";
    case Processor::Phase::scheduling: return "scheduling";
    case Processor::Phase::running: return "running";
    case Processor::Phase::sleeping: break;
  }
  return "sleeping";
}

std::vector<ProcessorView> Scheduler::view_processors() const {
  // Memory is taken before the lock.
  std::vector<ProcessorView> views(std::min(gomaxprocs(), slot_count_.load(std::memory_order_acquire)));
  const LockGuard guard(structure_lock_);
  for (unsigned i = 0; i < views.size(); ++i) {
    const Slot& slot = *slots_[i];
    ProcessorView& view = views[i];
    view.index = i;
    view.state = to_string(Processor::Phase::free);
    view.busy_ns = slot.busy_ns.load(std::memory_order_relaxed);
    view.pinned = slot.pinned_count.load(std::memory_order_relaxed);
    view.timers = slot.poller.timers.size();
    view.descriptors =
        static_cast<std::uint64_t>(std::max<std::int64_t>(slot.poller.descriptors.load(std::memory_order_relaxed), 0));
    const Processor* const p = slot.processor.load(std::memory_order_acquire);
    if (p == nullptr) continue;
    view.state = to_string(p->phase.load(std::memory_order_relaxed));
    view.queued = p->queue.size() + (p->runnext.empty() ? 0U : 1U);
    if (p->phase.load(std::memory_order_relaxed) != Processor::Phase::free)
      view.thread = p->thread.load(std::memory_order_relaxed);
    view.ticks = p->tick.load(std::memory_order_relaxed);
    view.switches = p->stats.switches.get();
    view.steals = p->stats.steals.get();
  }
  return views;
}

std::vector<ProcessorView> read_processors() {
  const Scheduler* const s = Scheduler::instance();
  return s != nullptr ? s->view_processors() : std::vector<ProcessorView>();
}

}  // namespace fiberd::runtime
