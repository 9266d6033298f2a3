#pragma once
// LogDump: SIGQUIT writes all fibers with their stacks to the log, and the daemon goes on: for who has no more than the
// log of a process that does not answer.
#include <pthread.h>

#include <atomic>
#include <memory>
#include <mutex>

namespace fiberd::daemon {

/// Works on a thread of its own, so also where every Processor is held. Thread-safe.
class LogDump {
 public:
  LogDump() = default;
  ~LogDump() { close(); }
  LogDump(const LogDump&) = delete;
  LogDump& operator=(const LogDump&) = delete;

  /// Begins one, unless one is being written; waits for nothing. After close() it does nothing.
  void request() noexcept;
  /// Cuts the one that is being written. Before the runtime goes.
  void close() noexcept;

 private:
  struct State {
    std::atomic<bool> busy{false};
    std::atomic<bool> cut{false};
  };
  static void write(State& state) noexcept;
  void join() noexcept;
  std::mutex mutex_;  // over system calls, so it is not a Lock
  bool closed_ = false;
  std::shared_ptr<State> state_;
  pthread_t thread_{};
  bool started_ = false;
};

}  // namespace fiberd::daemon
