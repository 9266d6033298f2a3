#pragma once
// GOMAXPROCS: how many Processors run fibers. Four sources, the first that says something wins:
//   1. environment GOMAXPROCS (a positive integer; anything else is logged and passed over),
//   2. the configured value (0: auto),
//   3. the CPU quota of the control groups, rounded up, where it is less than 4,
//   4. the CPUs in the thread's affinity mask.
//
// Go 1.25 rounds a quota up too, but to at least 2, so that its collector and a fiber that holds a P leave some
// parallelism. There is no collector here and sysmon replaces a held Processor, so a quota of one CPU or less gives one
// Processor: a second could only burn the quota in stealing, and be throttled sooner.
#include <string>

#include "core/runtime/cgroup.hpp"

namespace fiberd::runtime {

/// What detect_gomaxprocs looks at.
struct CpuSources {
  const char* environment = nullptr;  ///< the value of GOMAXPROCS; nullptr: not set
  unsigned configured = 0;            ///< 0: auto
  CgroupPaths cgroup;
  unsigned affinity = 0;  ///< CPUs that may be used; 0: ask the kernel
};

struct CpuLimits {
  unsigned gomaxprocs = 1;
  std::string source;   ///< for the log line: "environment", "configuration", "cgroup quota 1.50", "affinity"
  std::string warning;  ///< not empty: a source was invalid and passed over
};

/// Reads files; blocks the thread for a moment. Thread-safe.
[[nodiscard]] CpuLimits detect_gomaxprocs(const CpuSources& sources);

/// The same with the process's own environment; logs the warning, if any.
[[nodiscard]] CpuLimits detect_gomaxprocs(unsigned configured = 0);
[[nodiscard]] unsigned default_gomaxprocs();

/// CPUs in the calling thread's affinity mask, at least 1. Source: sched_getaffinity(2).
[[nodiscard]] unsigned affinity_cpus() noexcept;

}  // namespace fiberd::runtime
