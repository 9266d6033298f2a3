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

namespace fiberd::runtime {

static constexpr std::size_t kMostFibers = 1000;
static constexpr std::size_t kMostMachines = 1000;

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
  const std::vector<ProcessorView> processors = view_processors();
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
  }
  for (const ProcessorView& p : processors) {
    queues += (queues.empty() ? "" : " ") + number(p.queued);
    if (!detail) continue;
    lines += "\n  P" + number(p.index) + ": status=" + std::string(p.state) + " schedtick=" + number(p.ticks) +
             " switches=" + number(p.switches) + " runqsize=" + number(p.queued) + " pinned=" + number(p.pinned) +
             " timerslen=" + number(p.timers) + " descriptors=" + number(p.descriptors);
  }
  for (const MachineRow& m : threads) {
    const auto has = std::find_if(processors.begin(), processors.end(),
                                  [&m](const ProcessorView& p) { return p.thread == m.thread; });
    const bool idle = m.spare || m.thread == 0;
    const auto fiber = on_thread.find(m.thread);
    FiberOrigin lodger;
    const bool locked = m.lodger != 0 && find_origin(m.lodger, lodger);
    lines += "\n  M" + number(m.number) + ": thread=" + std::to_string(m.thread) +
             " p=" + (idle || has == processors.end() ? "nil" : number(has->index)) +
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

std::string describe_scheduler(std::int64_t since, bool detail) {
  Scheduler* const s = Scheduler::instance();
  return s != nullptr ? s->describe(since, detail) : std::string();
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
  const std::int64_t began = monotonic_now();

  static void* main(void* argument) noexcept {
    pthread_setname_np(pthread_self(), "fiberd-trace");
    static_cast<State*>(argument)->run();
    return nullptr;
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
        log(LogLevel::warning, describe_scheduler(began, with_detail));  // whatever log.level leaves out
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
