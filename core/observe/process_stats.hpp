#pragma once
// What the kernel says of this process, for the process_* metrics.
#include <cstdint>

#include "core/base/lock.hpp"
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

/// Reads /proc (proc(5)): a handful of system calls that do not wait for a device. The files are kept open, so that the
/// metrics are there when descriptors have run out, which is when somebody looks at them. Thread-safe.
class ProcessStatsReader {
 public:
  /// Opens the files; what cannot be opened is tried again by read().
  ProcessStatsReader() noexcept;
  ~ProcessStatsReader();
  ProcessStatsReader(const ProcessStatsReader&) = delete;
  ProcessStatsReader& operator=(const ProcessStatsReader&) = delete;

  /// Since kernel 6.2 open_fds is one fstat(2); before, the directory is listed. Errors: those of open, read, stat;
  /// bad_message for a /proc that cannot be understood.
  [[nodiscard]] Result<ProcessStats> read() noexcept;

 private:
  [[nodiscard]] std::error_code open_locked() noexcept FIBERD_REQUIRES(lock_);
  [[nodiscard]] Result<std::uint64_t> count_fds_locked() const noexcept FIBERD_REQUIRES(lock_);
  Lock lock_;  // the directory has one place that is read from
  int stat_ FIBERD_GUARDED_BY(lock_) = -1;
  int descriptors_ FIBERD_GUARDED_BY(lock_) = -1;
  std::uint64_t boot_time_ FIBERD_GUARDED_BY(lock_) = 0;  // Unix seconds
};

}  // namespace fiberd::observe
