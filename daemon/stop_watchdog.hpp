#pragma once
// StopWatchdog: ends the process when its stop does not, or when somebody outside wants it to abort.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <system_error>

#include <pthread.h>

namespace fiberd::daemon {

/// A thread that sleeps until a moment that is set when the stop begins: a handler that never returns, a function of
/// on_stop that hangs, a lock that nobody gives back then end with the process, by _exit(1). Thread-safe.
class StopWatchdog {
 public:
  /// `describe` says in a few words what is left then; it must not wait for anybody.
  explicit StopWatchdog(std::function<std::string()> describe);
  /// Nothing happens any more.
  ~StopWatchdog();
  StopWatchdog(const StopWatchdog&) = delete;
  StopWatchdog& operator=(const StopWatchdog&) = delete;

  /// What is said, by the thread, when the process is told to abort from outside. Before start().
  void say_at_abort(std::function<void()> last_words);
  /// Has the one that is started say its last words and then end the process by SIGABRT, as whoever sent that signal
  /// wants it. False: none is started. In a signal's handler.
  [[nodiscard]] static bool abort_from_signal() noexcept;

  /// Errors: pthread_create's.
  [[nodiscard]] std::error_code start();
  /// The process ends at `when` (monotonic ns), or when an earlier call said. Async-signal-safe.
  void arm(std::int64_t when) noexcept;
  /// When the process ends (monotonic ns); INT64_MAX: nobody has armed it.
  [[nodiscard]] std::int64_t end() const noexcept;

 private:
  struct State;
  std::shared_ptr<State> state_;
  pthread_t thread_{};
  bool started_ = false;
};

}  // namespace fiberd::daemon
