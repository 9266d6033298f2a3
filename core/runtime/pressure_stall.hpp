#pragma once
// Pressure stall information: for how long tasks could not go on because they waited for memory.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace fiberd::runtime {

/// Sums since the group, or the machine, began.
struct StallTimes {
  std::uint64_t some_us = 0;  ///< µs in which at least one task waited
  std::uint64_t full_us = 0;  ///< and none of the others ran
  bool operator==(const StallTimes&) const = default;
};

/// Of the text of /proc/pressure/memory or of a group's memory.pressure; nullopt: it is none. Source: Linux,
/// Documentation/accounting/psi.rst.
[[nodiscard]] std::optional<StallTimes> parse_stall_times(std::string_view text) noexcept;

/// nullopt: the file is not there, or the kernel keeps no account (psi=0). Reads a file: some µs.
[[nodiscard]] std::optional<StallTimes> read_stall_times(const std::string& path) noexcept;

}  // namespace fiberd::runtime
