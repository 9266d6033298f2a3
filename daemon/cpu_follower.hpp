#pragma once
// CpuFollower: GOMAXPROCS follows what the machine and its control groups allow, while the daemon runs: cpu.max
// (version 1: cfs_quota_us), the cpuset, the affinity mask. Whoever said a number, in the environment or in the
// configuration, keeps it.
#include <atomic>
#include <cstdint>
#include <string>

#include "core/runtime/gomaxprocs.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

class CpuFollower {
 public:
  /// `present`: as the runtime was started, for `configured`. `sources`: where to look; `environment` and `configured`
  /// of it are not used.
  CpuFollower(runtime::Runtime& runtime, const runtime::CpuLimits& present, unsigned configured,
              runtime::CpuSources sources = {.cgroup = runtime::this_cgroup_paths()});

  /// runtime.gomaxprocs of the next configuration; 0: auto. Changes GOMAXPROCS when that follows from it. Blocks the
  /// thread. Any thread.
  void configure(unsigned configured);
  /// Looks, and changes GOMAXPROCS and says so where something has changed. Reads files; blocks the thread. Any thread.
  void look();
  /// How often it was changed by look().
  [[nodiscard]] std::uint64_t changes() const noexcept { return changes_.load(std::memory_order_relaxed); }

 private:
  [[nodiscard]] runtime::CpuLimits detect(unsigned configured) const;
  runtime::Runtime& runtime_;
  const runtime::CpuSources sources_;
  std::atomic<unsigned> configured_;
  std::atomic<unsigned> asked_;  // the last number that the runtime was given
  std::atomic<std::uint64_t> changes_{0};
};

}  // namespace fiberd::daemon
