#pragma once
// LogDump: all fibers with their stacks to the log, and the daemon goes on: by SIGQUIT, for who has no more than the
// log of a process that does not answer, or by POST /debug/dump.
#include <pthread.h>

#include <atomic>
#include <chrono>
#include <memory>

#include "core/base/lock.hpp"
#include "core/base/result.hpp"

namespace fiberd::daemon {

/// Works on a thread of its own, so also where every Processor is held. Thread-safe.
class LogDump {
 public:
  LogDump() = default;
  ~LogDump() { close(); }
  LogDump(const LogDump&) = delete;
  LogDump& operator=(const LogDump&) = delete;

  /// Begins one; waits for nothing. `who` asks: a word in static storage, before each line about it. Errors, which are
  /// logged: device_or_resource_busy (one is being written), operation_canceled (after close()), not_enough_memory,
  /// that of starting a thread.
  Result<void> request(const char* who) noexcept;
  /// Waits until the one that is being written is, for `most` at most. False: it is not. Blocks the thread.
  bool wait(std::chrono::milliseconds most) noexcept;
  /// Cuts the one that is being written. Before the runtime goes.
  void close() noexcept;

 private:
  struct State {
    std::atomic<bool> busy{false};
    std::atomic<bool> cut{false};
    std::atomic<const char*> who{""};
  };
  static void write(State& state) noexcept;
  [[nodiscard]] Result<void> begin(const char* who) FIBERD_REQUIRES(lock_);
  Lock lock_;  // over the start of a thread: once for each SIGQUIT
  bool closed_ FIBERD_GUARDED_BY(lock_) = false;
  std::shared_ptr<State> state_ FIBERD_GUARDED_BY(lock_);
  pthread_t thread_ FIBERD_GUARDED_BY(lock_){};
  bool started_ FIBERD_GUARDED_BY(lock_) = false;
};

}  // namespace fiberd::daemon
