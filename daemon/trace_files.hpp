#pragma once
// TraceFiles: when a request took too long or a fiber stalled, what the flight recorder holds goes to a file: by the
// time that somebody looks, the rings have gone on.
//
// A thread of its own waits for a cause and writes (core/runtime/trace.hpp), so nothing of it is done on a Processor. A
// file is written under a name that ends in ".part" and renamed when it is whole; one that could not be written whole
// is removed, also one that a killed daemon has left behind. How many there are, and how large they are together, is
// bounded by their directory's contents, so also over restarts; only files named as these are counted and removed.
#include <pthread.h>

#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/base/lock.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/tracer.hpp"

namespace fiberd::daemon {

class TraceFiles {
 public:
  TraceFiles();
  ~TraceFiles() { close(); }
  TraceFiles(const TraceFiles&) = delete;
  TraceFiles& operator=(const TraceFiles&) = delete;

  /// Before use(). The registry outlives this.
  void count_in(metric::Registry& registry);
  /// From now on so: also while it works. Starts the thread when there is something to do; a lack of threads is logged.
  void use(const config::TraceConfig& config);
  /// Ends it; a file that is being written is given up. Before the runtime goes.
  void close() noexcept;

 private:
  struct State;
  static void run(State& state) noexcept;
  Lock lock_;  // over the start of the thread
  std::shared_ptr<State> state_;
  pthread_t thread_ FIBERD_GUARDED_BY(lock_){};
  bool started_ FIBERD_GUARDED_BY(lock_) = false;
  bool closed_ FIBERD_GUARDED_BY(lock_) = false;
};

/// What the recorder itself counts.
[[nodiscard]] std::vector<metric::CallbackHandle> count_traces(metric::Registry& registry,
                                                               const runtime::Tracer& tracer);

}  // namespace fiberd::daemon
