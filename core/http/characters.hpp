#pragma once
// Character classes of HTTP as one 256-byte table of bits, and the ASCII helpers of this room.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

namespace fiberd::http {

namespace chars {
inline constexpr std::uint8_t kToken = 1;   ///< tchar, RFC 9110 section 5.6.2
inline constexpr std::uint8_t kTarget = 2;  ///< what a request-target may hold here, see guard.hpp
inline constexpr std::uint8_t kValue = 4;   ///< field-vchar, SP, HTAB, obs-text, RFC 9110 section 5.5
inline constexpr std::uint8_t kDigit = 8;
inline constexpr std::uint8_t kHex = 16;
inline constexpr std::uint8_t kRegName = 32;  ///< unreserved and sub-delims without the comma
inline constexpr std::uint8_t kQuoted = 64;   ///< qdtext, RFC 9110 section 5.6.4

constexpr std::array<std::uint8_t, 256> make_table() {
  std::array<std::uint8_t, 256> t{};
  constexpr std::string_view token_extra = "!#$%&'*+-.^_`|~";
  constexpr std::string_view not_target = "\"#<>\\";
  constexpr std::string_view reg_extra = "-._~!$&'()*+;=";
  for (std::size_t c = 0; c < 256; ++c) {
    const char ch = static_cast<char>(c);
    const bool digit = c >= '0' && c <= '9';
    const bool alpha = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    std::uint8_t bits = 0;
    if (digit || alpha || (c < 128 && c != 0 && token_extra.find(ch) != std::string_view::npos)) bits |= kToken;
    if (c > 0x20 && c < 0x7f && not_target.find(ch) == std::string_view::npos) bits |= kTarget;
    if ((c >= 0x20 && c != 0x7f) || c == '\t') bits |= kValue;
    if (digit) bits |= kDigit;
    if (digit || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) bits |= kHex;
    if (digit || alpha || (c < 128 && c != 0 && reg_extra.find(ch) != std::string_view::npos)) bits |= kRegName;
    if (((c >= 0x20 && c != 0x7f) || c == '\t') && c != '"' && c != '\\') bits |= kQuoted;
    t[c] = bits;
  }
  return t;
}
inline constexpr std::array<std::uint8_t, 256> kTable = make_table();
}  // namespace chars

[[nodiscard]] constexpr bool is_class(char c, std::uint8_t bits) noexcept {
  return (chars::kTable[static_cast<unsigned char>(c)] & bits) != 0;
}
[[nodiscard]] constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
/// ASCII case-insensitive; `lower` must be lower case already.
[[nodiscard]] constexpr bool equals_lower(std::string_view s, std::string_view lower) noexcept {
  if (s.size() != lower.size()) return false;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (to_lower(s[i]) != lower[i]) return false;
  }
  return true;
}
[[nodiscard]] constexpr bool equals_ignore_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}
/// 0..15, or -1.
[[nodiscard]] constexpr int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  const char l = to_lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}
[[nodiscard]] constexpr bool is_token(std::string_view s) noexcept {
  if (s.empty()) return false;
  for (const char c : s) {
    if (!is_class(c, chars::kToken)) return false;
  }
  return true;
}
/// Field value bytes: no NUL, CR, LF or other controls but HTAB.
[[nodiscard]] constexpr bool is_field_value(std::string_view s) noexcept {
  for (const char c : s) {
    if (!is_class(c, chars::kValue)) return false;
  }
  return true;
}
/// Strips optional whitespace (SP, HTAB) at both ends.
[[nodiscard]] constexpr std::string_view trim(std::string_view s) noexcept {
  while (!s.empty() && (s.front() == ' ' || s.front() == '\t')) s.remove_prefix(1);
  while (!s.empty() && (s.back() == ' ' || s.back() == '\t')) s.remove_suffix(1);
  return s;
}

}  // namespace fiberd::http
