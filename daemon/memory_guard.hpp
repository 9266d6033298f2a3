#pragma once
// `memory.limit`: while the process uses more, no fiber is started for a new connection or request.
#include <cstdint>
#include <string>

namespace fiberd::daemon {

struct MemoryLimit {
  std::uint64_t bytes = 0;  ///< 0: none
  std::string warning{};    ///< not empty: what GOMEMLIMIT says is of no use
};
/// GOMEMLIMIT (as Go reads it: 512MiB, or off for none), else `configured`, else 90 % of the cgroup's limit.
[[nodiscard]] MemoryLimit find_memory_limit(std::uint64_t configured);

/// Resident bytes of the process now; 0 when /proc cannot be read.
[[nodiscard]] std::uint64_t resident_bytes() noexcept;

/// Looks at the resident memory and lets the admission hook refuse while it is over `limit`; logs each change once.
/// Call it twice a second.
void check_memory(std::uint64_t limit) noexcept;
/// The admission hook (runtime::AdmissionHook): not_enough_memory for fibers of connections while over the limit.
[[nodiscard]] bool over_memory_limit() noexcept;

}  // namespace fiberd::daemon
