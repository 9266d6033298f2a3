#pragma once
// `memory.limit` and GOMEMLIMIT: the limit of the process's own memory. What it is for: memory_governor.hpp.
#include <cstdint>
#include <string>

namespace fiberd::daemon {

struct MemoryLimit {
  std::uint64_t bytes = 0;  ///< 0: none
  std::string warning{};    ///< not empty: what GOMEMLIMIT says is of no use
};
/// GOMEMLIMIT (as Go reads it: 512MiB, or off for none), else `configured`, where 0 is none. The limits of the control
/// group are others, which count beside it.
[[nodiscard]] MemoryLimit find_memory_limit(std::uint64_t configured);

/// Resident bytes of the process now; 0 when /proc cannot be read.
[[nodiscard]] std::uint64_t resident_bytes() noexcept;

}  // namespace fiberd::daemon
