// A stop: who begins it, and how what is served ends.
//
// drain: on SIGTERM or SIGINT /readyz says 503, and every HTTP answer `Connection: close`, while service goes on for
// `shutdown.delay` (load balancers take us out); then listeners accept what the kernel has let in and close, idle
// connections close when `shutdown.idle` is over (core/http/h1/connection.cpp), requests finish; at
// `shutdown.timeout`, or on a second signal, the rest is cut and counted in the log. The admin listener goes last. What
// does not end then (a handler that never returns) ends with the process, two seconds later: stop_watchdog.cpp, armed
// before anything else is done about a signal. Logs are given up before that (stop_end.cpp). A reload that is under way
// when a stop comes is finished first; what it has made is then stopped like the rest.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/runtime/runtime.hpp"
#include "daemon/process.hpp"
#include "daemon/signals.hpp"

namespace fiberd::daemon {

/// The last moment of a stop that begins now.
void Process::arm_watchdog(std::chrono::nanoseconds more) noexcept {
  static constexpr std::chrono::nanoseconds kGrace = std::chrono::seconds(2);  // for what was cut, and the logs
  end_.watchdog.arm(time_after(monotonic_now(), more + kGrace));
}

/// False: a stop has begun already, by whomever. Any thread.
bool Process::begin_stop(std::string_view by) noexcept {
  arm_watchdog(std::chrono::nanoseconds(shutdown_delay_.load() + shutdown_timeout_.load()));
  if (std::uint32_t none = 0; !stop_.compare_exchange_strong(none, 1, std::memory_order_acq_rel)) return false;
  manager_->stopping(end_.watchdog.end());
  // Now and not when the listeners have closed: a client that is told early has time to go elsewhere.
  {
    const LockGuard guard(current_lock_);
    current_->begin_stop();
  }
  log(LogLevel::info, std::string(by) + ": stopping");
  stop_.notify_all();
  return true;
}

void Process::cut_rest(std::string_view by) noexcept {
  arm_watchdog(std::chrono::nanoseconds(0));
  manager_->stopping(end_.watchdog.end());
  (void)stop_.fetch_add(1, std::memory_order_acq_rel);
  log(LogLevel::warning, std::string(by) + ": what is still open is cut");
  drain_deadline_.store(0, std::memory_order_release);
  retire_deadline_.store(0, std::memory_order_release);
  stop_.notify_all();
}

void Process::stop_requested(int signo) noexcept {
  // timeout(1) sends its signal to the program and at once to the group that it is in; so do service managers that
  // signal a whole group. That is one wish.
  static constexpr std::int64_t kSameSignal = 100'000'000;  // ns
  const std::string name = std::string("signal ") + name_of_signal(signo);
  const std::int64_t now = monotonic_now();
  if (stop_began_ != 0 && now - stop_began_ < kSameSignal) return;
  if (stop_began_ != 0) {
    cut_rest("second signal");
    return;
  }
  // What others have begun (an upgrade is over, the process before was told to stop) was no signal.
  if (!begin_stop(name)) log(LogLevel::info, name + ": stopping already");
  stop_began_ = monotonic_now();  // from the end of all this: its twin may have waited here meanwhile
}

/// All of the present instance but the admin's, each on a fiber of its own.
void Process::drain_services(std::size_t& cut) {
  struct Progress {
    std::atomic<std::size_t> left{0};
    std::atomic<std::size_t> cut{0};
  } progress;
  std::vector<Instance::Entry>& entries = current_->entries();
  progress.left = entries.size();
  for (Instance::Entry& e : entries) {
    auto stop_one = [this, &progress, service = e.service.get()] {
      progress.cut += service->drain(drain_deadline_);
      --progress.left;
    };
    // Without a fiber for it, one after the other: slower, not wrong.
    if (!runtime::spawn_reserved(fiber::StackClaim::finish, "drain", stop_one)) stop_one();
  }
  while (progress.left != 0) (void)runtime::sleep_for(std::chrono::milliseconds(2));
  cut = progress.cut;
}

void Process::drain() {
  draining_.cancel();
  if (handed_over_.load(std::memory_order_acquire) == 0) admin_state_.ready.store(false, std::memory_order_release);
  if (config_watcher_ != nullptr) config_watcher_->stop();
  certificate_watcher_->stop();
  acme_->cancel();
  on_demand_->cancel();
  reloader_->close();
  upgrader_->close();
  // One that takes over is over soon. One that is being prepared may wait for a disk as long as it likes: it finds out
  // that it may not take over any more (may_take_over()), and what is drained is the present instance.
  {
    const LockGuard guard(current_lock_);
    no_successor_ = true;
  }
  while (taking_over_.load(std::memory_order_acquire)) (void)runtime::sleep_for(std::chrono::milliseconds(1));
  const bool other_serves = handed_over_.load(std::memory_order_acquire) != 0;
  // By the admin's address the other process is asked how it is.
  if (other_serves)
    for (const Instance::Entry* const e : current_->own())
      for (const auto& s : e->sockets) s->socket->stop();
  current_->begin_stop();  // a stop that came before the start had ended found nothing to tell
  const std::int64_t serve_until =
      time_after(monotonic_now(), std::chrono::nanoseconds(other_serves ? 0 : shutdown_delay_.load()));
  while (monotonic_now() < serve_until && stop_.load(std::memory_order_acquire) < 2)
    (void)runtime::sleep_for(std::chrono::milliseconds(10));
  const std::int64_t deadline = stop_.load(std::memory_order_acquire) < 2
                                    ? time_after(monotonic_now(), std::chrono::nanoseconds(shutdown_timeout_.load()))
                                    : 0;
  // An exchange sees what a second signal did before its own store of 0, which this may have undone.
  (void)drain_deadline_.exchange(deadline, std::memory_order_acq_rel);
  (void)retire_deadline_.exchange(deadline, std::memory_order_acq_rel);
  if (stop_.load(std::memory_order_acquire) >= 2) {
    drain_deadline_.store(0, std::memory_order_release);
    retire_deadline_.store(0, std::memory_order_release);
  }
  current_->stop_listening();
  std::size_t cut = 0;
  drain_services(cut);
  while (retiring_.load(std::memory_order_acquire) != 0) (void)runtime::sleep_for(std::chrono::milliseconds(2));
  served_.cancel();
  handlers_.stop();
  tracing_->stop(drain_deadline_);
  const std::atomic<std::int64_t> soon{monotonic_now() + 500'000'000};
  const std::vector<Instance::Entry*> own = current_->own();
  for (const Instance::Entry* const e : own)
    for (const auto& s : e->sockets) s->socket->stop();
  for (const Instance::Entry* const e : own) (void)e->service->drain(soon);
  if (cut != 0)
    log(LogLevel::warning,
        std::to_string(cut) + " connections were cut " +
            (stop_.load(std::memory_order_acquire) > 1 ? "at the second signal" : "at shutdown.timeout"));
  acme_->stop();  // last: nobody who is served waits for them
  on_demand_->stop();
}

}  // namespace fiberd::daemon
