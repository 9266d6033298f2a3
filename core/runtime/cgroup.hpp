#pragma once
// Where the process's control groups lie, and what CPU quota they allow it, versions 1 and 2. Memory:
// cgroup_memory.hpp.
//
// A limit may stand on any ancestor, so the whole path from the process's own group up to the mount is read and the
// least value counts. Where the group lies is said by two files together: /proc/self/cgroup gives the path inside the
// hierarchy, /proc/self/mountinfo where (and from which sub path on: containers) that hierarchy is mounted. In a
// hybrid set-up a controller that stands in a version-1 line is ruled by version 1. A path that is not below the
// mount's root (cgroup namespaces print "/.." paths) is read at the mount point itself: that is what can be seen.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace fiberd::runtime {

/// Where to look; tests set both.
struct CgroupPaths {
  std::string proc_self = "/proc/self";  ///< directory with `cgroup` and `mountinfo`
  std::string root;                      ///< put before each mount point
  bool quiet = false;                    ///< what cannot be parsed is passed over without a word
};

/// The real ones, or with FIBERDEBUG=cgroup=DIR, for tests of the whole program: DIR/proc and DIR/root.
[[nodiscard]] CgroupPaths this_cgroup_paths();

/// Where the process's own group of a controller lies.
struct Cgroup {
  int version = 0;        ///< 1 or 2
  std::string mount;      ///< directory of the mount point
  std::string directory;  ///< of the process's own group: `mount` or below it
  /// From `directory` up to `mount`.
  [[nodiscard]] std::vector<std::string> directories() const;
};
/// nullopt: there is none that can be seen, or (`unsure`) no descriptor was left to look at it. Reads files: blocks the
/// thread for a moment.
[[nodiscard]] std::optional<Cgroup> find_cgroup(std::string_view controller, const CgroupPaths& paths, bool& unsure);

/// The least CPU quota over the hierarchy, in CPUs (1.5: 150 ms in each 100 ms); nullopt: none. Reads files: blocks the
/// thread for a moment. A value that cannot be parsed is logged and passed over. Source: Linux, cgroup-v2 "cpu.max",
/// cgroup-v1 sched-bwc "cpu.cfs_quota_us".
[[nodiscard]] std::optional<double> cgroup_cpu_quota(const CgroupPaths& paths = {});
/// `unsure`: no descriptor was left to look at all of it; the answer says nothing then.
[[nodiscard]] std::optional<double> cgroup_cpu_quota(const CgroupPaths& paths, bool& unsure);

}  // namespace fiberd::runtime
