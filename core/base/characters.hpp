#pragma once
// ASCII, character by character: one 256-byte table of classes for all rooms, case, digits, tokens. Independent of
// locales, and inline all through: the guards of HTTP look at every byte that comes in with it. Text as a whole:
// text.hpp.
#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

namespace fiberd::ascii {

namespace chars {
inline constexpr std::uint8_t kToken = 1;  ///< tchar, RFC 9110 section 5.6.2
inline constexpr std::uint8_t kTarget =
    2;  ///< visible, and none of `"#<>\`: what a request-target of HTTP may hold here
inline constexpr std::uint8_t kValue = 4;  ///< field-vchar, SP, HTAB, obs-text, RFC 9110 section 5.5
inline constexpr std::uint8_t kDigit = 8;
inline constexpr std::uint8_t kHex = 16;
inline constexpr std::uint8_t kRegName = 32;  ///< unreserved and sub-delims without the comma
inline constexpr std::uint8_t kQuoted = 64;   ///< qdtext, RFC 9110 section 5.6.4
inline constexpr std::uint8_t kAlpha = 128;

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
    if (alpha) bits |= kAlpha;
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
/// Printable ASCII but " and \: stands between quotes as it is, in any format.
[[nodiscard]] constexpr bool is_plain(char c) noexcept { return c >= 0x20 && c < 0x7f && c != '"' && c != '\\'; }
[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
/// From `p` to the first byte of none of these classes, or to `end`.
[[nodiscard]] constexpr const char* skip(const char* p, const char* end, std::uint8_t bits) noexcept {
  // What is skipped is a handful of bytes, too few for vectors: but the end is asked for once in four.
  for (std::ptrdiff_t fours = (end - p) / 4; fours != 0; --fours, p += 4) {
    if (!is_class(p[0], bits)) return p;
    if (!is_class(p[1], bits)) return p + 1;
    if (!is_class(p[2], bits)) return p + 2;
    if (!is_class(p[3], bits)) return p + 3;
  }
  while (p != end && is_class(*p, bits)) ++p;
  return p;
}

[[nodiscard]] constexpr bool is_alpha(char c) noexcept { return is_class(c, chars::kAlpha); }
[[nodiscard]] constexpr bool is_lower(char c) noexcept { return c >= 'a' && c <= 'z'; }
[[nodiscard]] constexpr bool is_upper(char c) noexcept { return c >= 'A' && c <= 'Z'; }
[[nodiscard]] constexpr bool is_alnum(char c) noexcept { return is_class(c, chars::kAlpha | chars::kDigit); }
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
/// As above, for a literal (all of the array but its last byte counts): a comparison a byte and no loop.
template <std::size_t N>
[[nodiscard]] constexpr bool equals_lower(std::string_view s, const char (&lower)[N]) noexcept {
  if (s.size() != N - 1) return false;
  return [&]<std::size_t... I>(std::index_sequence<I...>) {
    // Of a letter only its two cases have its bits beside 32.
    return ((lower[I] >= 'a' && lower[I] <= 'z' ? (s[I] | ' ') == lower[I] : s[I] == lower[I]) && ...);
  }
  (std::make_index_sequence<N - 1>());
}
[[nodiscard]] constexpr bool equals_ignore_case(std::string_view a, std::string_view b) noexcept {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (to_lower(a[i]) != to_lower(b[i])) return false;
  }
  return true;
}
/// The digits of base 16, in lower and upper case.
inline constexpr std::string_view kHexDigits = "0123456789abcdef";
inline constexpr std::string_view kUpperHexDigits = "0123456789ABCDEF";
/// 0..15, or -1.
[[nodiscard]] constexpr int hex_value(char c) noexcept {
  if (c >= '0' && c <= '9') return c - '0';
  const char l = to_lower(c);
  return l >= 'a' && l <= 'f' ? l - 'a' + 10 : -1;
}
/// RFC 9110 section 5.6.2: what names of fields, methods and codings are made of.
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

}  // namespace fiberd::ascii
