// It must depend on nothing that may be stuck: no fiber, no signal that somebody must have unblocked, no other thread,
// no log that is read. So it is a thread of its own, started with the daemon (at the stop there might be none to be
// had), which sleeps on a semaphore; its last words go to the log's queue and, guarded, to standard error.
#include "daemon/stop_watchdog.hpp"

#include <semaphore.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/base/log_flush.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/helper_thread.hpp"
#include "daemon/logging.hpp"

namespace fiberd::daemon {

struct StopWatchdog::State {
  explicit State(std::function<std::string()> what) : describe(std::move(what)) { sem_init(&changed, 0, 0); }
  ~State() { sem_destroy(&changed); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  static void run(State& state) noexcept { state.loop(); }
  void loop() noexcept;
  [[noreturn]] void end_process() noexcept;
  [[noreturn]] void abort_process() noexcept;

  const std::function<std::string()> describe;
  sem_t changed{};
  std::atomic<std::int64_t> when{INT64_MAX};
  std::atomic<bool> called_off{false};
  std::function<void()> last_words;
  std::atomic<bool> aborting{false};

  static inline std::atomic<State*> started{nullptr};
};

void StopWatchdog::State::loop() noexcept {
  while (!called_off.load(std::memory_order_acquire)) {
    if (aborting.load(std::memory_order_acquire)) abort_process();
    const std::int64_t at = when.load(std::memory_order_acquire);
    if (at == INT64_MAX) {
      (void)sem_wait(&changed);
      continue;
    }
    if (monotonic_now() >= at) end_process();
    const timespec until{static_cast<time_t>(at / 1'000'000'000), static_cast<long>(at % 1'000'000'000)};
    (void)sem_clockwait(&changed, CLOCK_MONOTONIC, &until);
  }
}

void StopWatchdog::State::end_process() noexcept {
  std::string line = "the stop did not end at shutdown.timeout: the process ends without it";
  try {
    line += ": " + describe();
  } catch (...) {  // then without
  }
  log(LogLevel::error, line);
  flush_log();
  if (!log_is_on_terminal()) say_on_stderr("fiberd: " + line);
  ::_exit(static_cast<int>(ExitCode::runtime_failure));
}

/// Not in the handler: it interrupts a thread that may hold any lock, and that goes on meanwhile.
void StopWatchdog::State::abort_process() noexcept {
  static constexpr int kMostFlushes = 10;  // a fraction of a second each, and none when all is written
  try {
    if (last_words) last_words();
  } catch (...) {  // then without
  }
  for (int i = 0; i < kMostFlushes; ++i) flush_log();
  struct sigaction usual {};
  usual.sa_handler = SIG_DFL;
  (void)::sigaction(SIGABRT, &usual, nullptr);
  sigset_t abort;
  sigemptyset(&abort);
  sigaddset(&abort, SIGABRT);
  (void)::pthread_sigmask(SIG_UNBLOCK, &abort, nullptr);
  (void)::raise(SIGABRT);
  ::_exit(static_cast<int>(ExitCode::runtime_failure));
}

void StopWatchdog::say_at_abort(std::function<void()> last_words) { state_->last_words = std::move(last_words); }

bool StopWatchdog::abort_from_signal() noexcept {
  State* const state = State::started.load(std::memory_order_acquire);
  if (state == nullptr) return false;
  state->aborting.store(true, std::memory_order_release);
  sem_post(&state->changed);
  return true;
}

StopWatchdog::StopWatchdog(std::function<std::string()> describe)
    : state_(std::make_shared<State>(std::move(describe))) {}

StopWatchdog::~StopWatchdog() {
  if (!started_) return;
  State::started.store(nullptr, std::memory_order_release);
  state_->called_off.store(true, std::memory_order_release);
  sem_post(&state_->changed);
  (void)pthread_join(thread_, nullptr);
}

std::error_code StopWatchdog::start() {
  if (const std::error_code error = start_helper<State, &State::run>(thread_, "fiberd-watchdog", state_)) return error;
  started_ = true;
  State::started.store(state_.get(), std::memory_order_release);
  return {};
}

std::int64_t StopWatchdog::end() const noexcept { return state_->when.load(std::memory_order_acquire); }

void StopWatchdog::arm(std::int64_t when) noexcept {
  std::int64_t before = state_->when.load(std::memory_order_relaxed);
  while (when < before && !state_->when.compare_exchange_weak(before, when, std::memory_order_acq_rel)) {
  }
  sem_post(&state_->changed);
}

}  // namespace fiberd::daemon
