#include "core/runtime/sched_trace.hpp"

#include <signal.h>

#include <algorithm>
#include <charconv>
#include <condition_variable>
#include <cstdio>
#include <map>
#include <mutex>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/debug_setting.hpp"
#include "core/base/log.hpp"
#include "core/base/printable.hpp"
#include "core/base/quiet_thread.hpp"
#include "core/runtime/fiber_list.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/trace_reader.hpp"

namespace fiberd::runtime {

static constexpr std::size_t kMostFibers = 1000;
static constexpr std::size_t kMostMachines = 1000;

static std::string_view to_string(Processor::Phase phase) noexcept {
  switch (phase) {
    case Processor::Phase::free: return "free";
    case Processor::Phase::scheduling: return "scheduling";
    case Processor::Phase::running: return "running";
    case Processor::Phase::sleeping: break;
  }
  return "sleeping";
}

static std::string number(std::uint64_t n) { return std::to_string(n); }

std::string Scheduler::describe(std::int64_t since, bool detail) {
  const MemStats stats = read_mem_stats(false);
  std::string queues;
  std::string lines;
  std::string fibers;
  std::map<pid_t, std::uint64_t> on_thread;  // which fiber
  if (detail) {
    std::size_t told = 0;
    const std::size_t all = for_each_fiber([&](const FiberView& f) {
      if (f.thread != 0) on_thread[f.thread] = f.origin.id;
      if (told++ >= kMostFibers) return true;
      fibers += "\n  G" + number(f.origin.id) + ": status=" + std::string(runtime::to_string(f.state));
      if (f.state == FiberView::State::waiting) fibers += "(" + std::string(runtime::to_string(f.reason)) + ")";
      fibers += " name=" + printable(f.origin.name, 128) + " pinned=" + (f.pinned ? "true" : "false");
      return true;
    });
    if (all > kMostFibers) fibers += "\n  and " + number(all - kMostFibers) + " more";
  }
  struct Row {
    Processor::Phase phase = Processor::Phase::free;
    std::uint64_t tick = 0, switches = 0, queued = 0, pinned = 0, timers = 0;
    std::int64_t descriptors = 0;
    bool there = false;
    pid_t thread = 0;
  };
  struct MachineRow {
    std::size_t number = 0;
    pid_t thread = 0;
    bool spare = false;
    std::uint32_t lodger = 0;
  };
  unsigned machines = 0;
  unsigned spare = 0;
  std::vector<MachineRow> threads;
  // Numbers under the lock, texts behind it.
  std::vector<Row> rows(std::min(gomaxprocs(), slot_count_.load(std::memory_order_acquire)));
  if (detail) threads.reserve(kMostMachines);
  {
    const LockGuard guard(structure_lock_);
    machines = static_cast<unsigned>(machines_.size());
    spare = spare_count_;
    for (const auto& m : machines_) {
      if (threads.size() == threads.capacity()) break;
      threads.push_back(
          {m->place, m->tid.load(std::memory_order_relaxed), false, m->lodger != nullptr ? m->lodger->index : 0});
    }
    for (const Machine* m = spare_machines_; m != nullptr; m = m->next)
      if (m->place < threads.size()) threads[m->place].spare = true;
    for (std::size_t i = 0; i < rows.size(); ++i) {
      const Slot& slot = *slots_[i];
      const Processor* const p = slot.processor.load(std::memory_order_acquire);
      if (p == nullptr) continue;
      rows[i] = {p->phase.load(std::memory_order_relaxed),
                 p->tick.load(std::memory_order_relaxed),
                 p->stats.switches.get(),
                 p->queue.size() + (p->runnext.empty() ? 0U : 1U),
                 slot.pinned_count.load(std::memory_order_relaxed),
                 slot.poller.timers.size(),
                 slot.poller.descriptors.load(std::memory_order_relaxed),
                 true,
                 p->phase.load(std::memory_order_relaxed) == Processor::Phase::free
                     ? 0
                     : p->thread.load(std::memory_order_relaxed)};
    }
  }
  for (std::size_t i = 0; i < rows.size(); ++i) {
    const Row& r = rows[i];
    queues += (queues.empty() ? "" : " ") + number(r.queued);
    if (!detail || !r.there) continue;
    lines += "\n  P" + number(i) + ": status=" + std::string(to_string(r.phase)) + " schedtick=" + number(r.tick) +
             " switches=" + number(r.switches) + " runqsize=" + number(r.queued) + " pinned=" + number(r.pinned) +
             " timerslen=" + number(r.timers) + " descriptors=" + std::to_string(r.descriptors);
  }
  for (const MachineRow& m : threads) {
    const auto has = std::find_if(rows.begin(), rows.end(), [&m](const Row& r) { return r.thread == m.thread; });
    const bool idle = m.spare || m.thread == 0;
    const auto fiber = on_thread.find(m.thread);
    FiberOrigin lodger;
    const bool locked = m.lodger != 0 && find_origin(m.lodger, lodger);
    lines += "\n  M" + number(m.number) + ": thread=" + std::to_string(m.thread) +
             " p=" + (idle || has == rows.end() ? "nil" : number(static_cast<std::uint64_t>(has - rows.begin()))) +
             " curg=" + (fiber == on_thread.end() ? "nil" : number(fiber->second)) +
             " idle=" + (idle ? "true" : "false") + " lockedg=" + (locked ? number(lodger.id) : "nil");
  }
  if (detail && machines > threads.size()) lines += "\n  and " + number(machines - threads.size()) + " more threads";
  std::string text =
      "SCHED " + number(static_cast<std::uint64_t>(std::max<std::int64_t>(monotonic_now() - since, 0)) / 1'000'000);
  text += "ms: gomaxprocs=" + number(stats.gomaxprocs) + " idleprocs=" + number(stats.processors_idle) +
          " threads=" + number(machines) + " spinningthreads=" + (idle_.spinning() ? "1" : "0") +
          " idlethreads=" + number(spare) + " runqueue=" + number(stats.global_queue_depth) + " [" + queues + "]" +
          " switches=" + number(stats.switches) + " steals=" + number(stats.steals) +
          " handoffs=" + number(stats.handoffs) +
          " fibers=" + number(stats.fibers_runnable + stats.fibers_running + stats.fibers_waiting) +
          " stacks=" + number(stats.stacks_in_use);
  return text + lines + fibers;
}

/// Longest turn of a fiber, of what `reader` has not told yet; nothing where nothing is recorded.
static std::string longest_pause(TraceReader& reader, TracePauses& pauses) {
  (void)reader.look([&](const TraceItem& item) { pauses.see(item); });
  return " longestpause=" + std::to_string(pauses.take_longest(reader.until()) / 1000) + "us";
}

/// Into the first line, behind what else is ours.
static void insert_pause(std::string& text, const std::string& pause) {
  text.insert(std::min(text.find('\n'), text.size()), pause);
}

std::string describe_scheduler(std::int64_t since, bool detail) {
  Scheduler* const s = Scheduler::instance();
  if (s == nullptr) return {};
  std::string text = s->describe(since, detail);
  if (s->tracer().on()) {
    TraceReader reader(s->tracer(), TraceReader::From::oldest);
    TracePauses pauses;
    insert_pause(text, longest_pause(reader, pauses));
  }
  return text;
}

// ---------------------------------------------------------------------------------------------- again and again

/// What the thread works by. Its mutex is held over waits of the thread, never by a fiber for longer than a store.
struct SchedTrace::State {
  std::mutex mutex;
  std::condition_variable changed;
  std::chrono::milliseconds period{0};
  bool detail = false;
  bool ending = false;
  bool started = false;
  pthread_t thread{};
  std::unique_ptr<TraceReader> reader;  // the thread's: since the line before
  TracePauses pauses;
  const std::int64_t began = monotonic_now();

  static void* main(void* argument) noexcept {
    pthread_setname_np(pthread_self(), "fiberd-trace");
    static_cast<State*>(argument)->run();
    return nullptr;
  }
  std::string describe(bool with_detail) {
    Scheduler* const s = Scheduler::instance();
    if (s == nullptr) return {};
    std::string text = s->describe(began, with_detail);
    if (s->tracer().on()) {
      if (reader == nullptr) reader = std::make_unique<TraceReader>(s->tracer(), TraceReader::From::oldest);
      insert_pause(text, longest_pause(*reader, pauses));
    }
    return text;
  }
  void run() noexcept {
    std::unique_lock lock(mutex);
    while (!ending) {
      if (period.count() == 0) {
        changed.wait(lock);
        continue;
      }
      if (changed.wait_for(lock, period) != std::cv_status::timeout) continue;
      const bool with_detail = detail;
      lock.unlock();
      try {
        log(LogLevel::warning, describe(with_detail));  // whatever log.level leaves out
      } catch (const std::bad_alloc&) {
        log(LogLevel::warning, "schedtrace: memory is out");
      }
      lock.lock();
    }
  }
};

SchedTrace::SchedTrace() : state_(std::make_unique<State>()) {}

SchedTrace::~SchedTrace() {
  {
    const std::scoped_lock lock(state_->mutex);
    state_->ending = true;
    state_->changed.notify_all();
    if (!state_->started) return;
  }
  pthread_join(state_->thread, nullptr);
}

Result<void> SchedTrace::set(std::chrono::milliseconds period, bool detail) {
  if (period.count() != 0 && (period < kLeast || period > std::chrono::hours(1)))
    return fail(std::errc::invalid_argument);
  const std::scoped_lock lock(state_->mutex);
  if (period.count() != 0 && !state_->started) {
    const int error = create_quiet_thread(state_->thread, &State::main, state_.get());
    if (error != 0) return fail(std::error_code(error, std::system_category()));
    state_->started = true;
  }
  state_->period = period;
  state_->detail = detail;
  state_->changed.notify_all();
  return {};
}

SchedTraceWish wished_sched_trace() noexcept {
  SchedTraceWish wish;
  const auto period = debug_setting("schedtrace");
  if (!period) return wish;
  long long ms = 0;
  (void)std::from_chars(period->data(), period->data() + period->size(), ms);
  // As in Go a number that is none asks for nothing; one that is too small or large is brought to what there is.
  if (ms > 0) wish.period = std::chrono::milliseconds(std::clamp<long long>(ms, SchedTrace::kLeast.count(), 3'600'000));
  const auto more = debug_setting("scheddetail");
  wish.detail = more && *more != "0" && !more->empty();
  return wish;
}

}  // namespace fiberd::runtime
