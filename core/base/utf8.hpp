#pragma once
// UTF-8 that every reader takes (RFC 3629): shortest form, no surrogates, at most U+10FFFF.
#include <cstddef>
#include <string>
#include <string_view>

namespace fiberd {

/// What stands for bytes that are none: U+FFFD.
inline constexpr std::string_view kReplacementCharacter = "\xef\xbf\xbd";

/// Length of the well-formed sequence at the beginning of `s`, 1 to 4; 0 when there is none.
[[nodiscard]] std::size_t utf8_length(std::string_view s) noexcept;
/// Whether all of it is.
[[nodiscard]] bool is_utf8(std::string_view s) noexcept;
/// `s`, with kReplacementCharacter for each byte that belongs to no sequence.
[[nodiscard]] std::string well_formed(std::string_view s);
/// How much of `s` stands within `most` bytes without the beginning of a sequence that is cut.
[[nodiscard]] std::size_t utf8_cut(std::string_view s, std::size_t most) noexcept;

}  // namespace fiberd
