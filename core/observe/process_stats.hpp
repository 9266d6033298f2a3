#pragma once
// What the kernel says of this process, for the process_* metrics.
#include <cstdint>

#include "core/base/result.hpp"

namespace fiberd::observe {

struct ProcessStats {
  double cpu_seconds = 0;         ///< user and system
  double start_time_seconds = 0;  ///< Unix time
  std::uint64_t resident_bytes = 0;
  std::uint64_t virtual_bytes = 0;
  std::uint64_t threads = 0;
  std::uint64_t open_fds = 0;
  std::uint64_t max_fds = 0;  ///< UINT64_MAX when unlimited
};

/// Reads /proc (proc(5)): a handful of system calls that do not wait for a device. Since kernel 6.2 open_fds is one
/// stat(2); before, the directory is listed. Thread-safe. Errors: those of open, read, stat; bad_message for a
/// /proc that cannot be understood.
[[nodiscard]] Result<ProcessStats> read_process_stats();

}  // namespace fiberd::observe
