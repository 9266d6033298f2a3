#pragma once
// ASCII text: classes of characters, case and tokens, and how far two words are apart. Independent of locales.
#include <cstddef>
#include <string>
#include <string_view>

namespace fiberd {

namespace ascii {

[[nodiscard]] constexpr bool is_digit(char c) noexcept { return c >= '0' && c <= '9'; }
[[nodiscard]] constexpr bool is_alpha(char c) noexcept { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
[[nodiscard]] constexpr bool is_alnum(char c) noexcept { return is_alpha(c) || is_digit(c); }
[[nodiscard]] constexpr char to_lower(char c) noexcept {
  return c >= 'A' && c <= 'Z' ? static_cast<char>(c + ('a' - 'A')) : c;
}
[[nodiscard]] std::string lower(std::string_view text);

/// RFC 9110 section 5.6.2: what names of fields, methods and codings are made of.
[[nodiscard]] bool is_token(std::string_view text) noexcept;
/// Holds a control character that no field of HTTP may hold; tabs may be there.
[[nodiscard]] bool has_control(std::string_view text) noexcept;

}  // namespace ascii

/// Levenshtein's distance, in time and memory that grow with a.size() × b.size(): for names.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

}  // namespace fiberd
