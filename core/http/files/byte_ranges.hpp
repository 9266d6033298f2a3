#pragma once
// The Range field (RFC 9110 section 14) for the unit `bytes`.
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace fiberd::http {

struct ByteRange {
  std::uint64_t first;
  std::uint64_t last;  ///< inclusive
  [[nodiscard]] constexpr std::uint64_t size() const noexcept { return last - first + 1; }
  friend constexpr bool operator==(const ByteRange&, const ByteRange&) noexcept = default;
};

enum class RangeVerdict : std::uint8_t {
  whole,         ///< send everything: another unit, malformed, too many ranges, or nothing there to take a part of
  parts,         ///< answer 206
  unsatisfiable  ///< answer 416
};

/// Reads `value` for a representation of `size` bytes into `out`, in the order asked for; what lies beyond the end is
/// cut or dropped, and ranges that overlap or touch become one. More than `most` ranges are not read: the whole costs
/// less than what such a client wants done. An empty representation is sent whole, since no range of it can be named.
/// Throws std::bad_alloc.
[[nodiscard]] RangeVerdict parse_byte_ranges(std::string_view value, std::uint64_t size, std::size_t most,
                                             std::vector<ByteRange>& out);

}  // namespace fiberd::http
