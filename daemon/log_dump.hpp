#pragma once
// LogDump: SIGQUIT writes all fibers with their stacks to the log, and the daemon goes on: for who has no more than the
// log of a process that does not answer.
#include <pthread.h>

#include <atomic>
#include <memory>

#include "core/base/lock.hpp"

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
  void begin() FIBERD_REQUIRES(lock_);
  Lock lock_;  // over the start of a thread: once for each SIGQUIT
  bool closed_ FIBERD_GUARDED_BY(lock_) = false;
  std::shared_ptr<State> state_ FIBERD_GUARDED_BY(lock_);
  pthread_t thread_ FIBERD_GUARDED_BY(lock_){};
  bool started_ FIBERD_GUARDED_BY(lock_) = false;
};

}  // namespace fiberd::daemon
