#pragma once
// GOMAXPROCS: how many Processors run fibers. Four sources, the first that says something wins:
//   1. environment GOMAXPROCS (a positive integer; anything else is said and passed over),
//   2. the configured value (0: auto),
//   3. the CPU quota of the control groups, rounded up, where it is less than 4,
//   4. the CPUs in the thread's affinity mask.
//
// Whoever says a number means it: 1 and 2 beyond kMostProcessors are an error, and nothing starts. What is only found
// (3 and 4) is brought down to what can be had, with a warning: a larger machine is no reason not to start. There the
// limit of open files counts, too: each Processor has a Poller of two descriptors, and they shall not take more than
// half of it.
//
// Go 1.25 rounds a quota up too, but to at least 2, so that its collector and a fiber that holds a P leave some
// parallelism. There is no collector here and sysmon replaces a held Processor, so a quota of one CPU or less gives one
// Processor: a second could only burn the quota in stealing, and be throttled sooner.
#include <sched.h>

#include <cstdint>
#include <string>

#include "core/runtime/cgroup.hpp"

namespace fiberd::runtime {

/// What more would cost, and what bounds it: docs/adr/0010-how-many-processors.md.
inline constexpr unsigned kMostProcessors = 1024;

/// What detect_gomaxprocs looks at.
struct CpuSources {
  const char* environment = nullptr;  ///< the value of GOMAXPROCS; nullptr: not set
  unsigned configured = 0;            ///< 0: auto
  CgroupPaths cgroup;
  unsigned affinity = 0;          ///< CPUs that may be used; 0: ask the kernel, or FIBERDEBUG=cpus=N for tests
  std::uint64_t descriptors = 0;  ///< the limit of open files; 0: ask the kernel
};

struct CpuLimits {
  unsigned gomaxprocs = 1;
  std::string source;   ///< for the log line: "environment", "configuration", "cgroup quota 1.50", "affinity"
  std::string warning;  ///< not empty: a source was invalid and passed over, or what was found had to be brought down
  bool unsure = false;  ///< no descriptor was left to look at the control groups: there may be a quota
  std::string error;    ///< not empty: what was asked for is out of range; `gomaxprocs` says nothing then
};

/// Reads files; blocks the thread for a moment. Thread-safe.
[[nodiscard]] CpuLimits detect_gomaxprocs(const CpuSources& sources);

/// The same with the process's own environment.
[[nodiscard]] CpuLimits detect_gomaxprocs(unsigned configured = 0);

/// CPUs in the calling thread's affinity mask, at least 1, whatever size the kernel's masks have. Source:
/// sched_getaffinity(2), or what a test gives.
[[nodiscard]] unsigned affinity_cpus(int (*get)(pid_t, std::size_t, cpu_set_t*) noexcept = nullptr) noexcept;

}  // namespace fiberd::runtime
