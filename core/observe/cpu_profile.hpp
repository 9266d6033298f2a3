#pragma once
// CpuProfile: where this process spends its CPU time, by samples: each thread is asked after each period of its own CPU
// time. Threads that wait cost nothing and are not in it. How: cpu_profile.cpp.
#include <cstdint>
#include <memory>

#include "core/base/result.hpp"
#include "core/observe/cpu_sampler.hpp"
#include "core/observe/pprof_profile.hpp"

namespace fiberd::observe {

class CpuProfile {
 public:
  static constexpr unsigned kUsualRate = 100;  ///< samples a second of CPU time, as Go's
  /// The kernel looks at such timers at its ticks, 100 to 1,000 times a second: beyond, samples only weigh more.
  static constexpr unsigned kMostRate = 1000;

  /// Begins. `rate`: 1 … kMostRate. One at a time in a process. Errors: device_or_resource_busy (there is one already,
  /// or SIGPROF has a handler that is not ours), invalid_argument (the rate), and those of a thread's creation. Any
  /// thread; blocks for some system calls. Throws std::bad_alloc.
  [[nodiscard]] static Result<std::unique_ptr<CpuProfile>> start(unsigned rate = kUsualRate);
  /// False: SIGPROF has a handler that is not ours, so none can be taken.
  [[nodiscard]] static bool has_signal() noexcept;
  /// Ends it, if stop() has not.
  ~CpuProfile();
  CpuProfile(const CpuProfile&) = delete;
  CpuProfile& operator=(const CpuProfile&) = delete;

  /// Ends it. The types are samples and cpu (ns), as Go's; labels: "fiber", its name, and those that its fiber had
  /// (runtime::ProfileLabel). Comments say how many samples were taken and lost, what one took, and which threads could
  /// not be sampled. Once. Blocks until the collecting thread has ended. Throws std::bad_alloc.
  [[nodiscard]] PprofProfile stop();
  [[nodiscard]] CpuSampler::Counts counts() const noexcept;

 private:
  struct State;
  explicit CpuProfile(std::unique_ptr<State> state) noexcept;
  std::unique_ptr<State> state_;
};

}  // namespace fiberd::observe
