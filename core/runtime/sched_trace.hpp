#pragma once
// SchedTrace: Go's schedtrace: what the scheduler does, a line a period, in Go's form, so that what people know of Go's
// lines they know of these: FIBERDEBUG=schedtrace=1000[,scheddetail=1].
#include <pthread.h>

#include <chrono>
#include <memory>
#include <string>

#include "core/base/result.hpp"

namespace fiberd::runtime {

/// The present scheduler in a line: "SCHED 1004ms: gomaxprocs=2 idleprocs=1 threads=7 spinningthreads=0 idlethreads=3
/// runqueue=0 [0 0] …"; behind the queues of the Processors stands what Go does not tell: switches, steals, hand-offs,
/// fibers and stacks in use, and `longestpause`, the longest that a Processor has run one fiber without going on: of
/// what the flight recorder still holds, in a line of SchedTrace since the line before. `detail`: with a line for each
/// Processor and fiber (1,000 at most), as Go's scheddetail; it looks at fibers as for_each_fiber does. "" without a
/// runtime. `since`: monotonic ns from which the milliseconds count. Any thread, while the runtime lives; takes a lock
/// that no request takes. Throws std::bad_alloc.
[[nodiscard]] std::string describe_scheduler(std::int64_t since, bool detail);

/// Writes that to the log, as warnings, again and again, on a thread of its own, for as long as it lives: within the
/// runtime's life.
class SchedTrace {
 public:
  SchedTrace();
  ~SchedTrace();
  SchedTrace(const SchedTrace&) = delete;
  SchedTrace& operator=(const SchedTrace&) = delete;

  static constexpr std::chrono::milliseconds kLeast{10};
  /// Begins, or goes on with another period; 0 ends it. Thread-safe. Errors: invalid_argument (below kLeast, above an
  /// hour), the system's lack of threads.
  [[nodiscard]] Result<void> set(std::chrono::milliseconds period, bool detail);

 private:
  struct State;
  const std::unique_ptr<State> state_;
};

/// What FIBERDEBUG asks for; period 0: nothing.
struct SchedTraceWish {
  std::chrono::milliseconds period{0};
  bool detail = false;
};
[[nodiscard]] SchedTraceWish wished_sched_trace() noexcept;

}  // namespace fiberd::runtime
