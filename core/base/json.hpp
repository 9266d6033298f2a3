#pragma once
// Strings of JSON (RFC 8259 section 7): the one place that knows how they are escaped.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/characters.hpp"

namespace fiberd {

/// How one byte stands in a string of JSON: itself, or an escape.
class JsonByte {
 public:
  /// Quotes, backslashes, controls and DEL are escaped. Bytes from 0x80 on stand for themselves: what they are part of
  /// is UTF-8, or JsonByte::opaque is asked.
  constexpr explicit JsonByte(char c) noexcept {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      text_ = {'\\', c};
      size_ = 2;
    } else if (byte < 0x20 || byte == 0x7f) {
      escape(byte);
    } else {
      text_[0] = c;
      size_ = 1;
    }
  }
  /// The same, and bytes from 0x80 on are escaped as the code point of their number: for bytes of which nobody knows
  /// whether they are UTF-8.
  [[nodiscard]] static constexpr JsonByte opaque(char c) noexcept {
    JsonByte made(c);
    if (static_cast<unsigned char>(c) >= 0x80) made.escape(static_cast<unsigned char>(c));
    return made;
  }
  /// Escaped whatever it is: for JSON inside of something else, which would understand it. Of ASCII.
  [[nodiscard]] static constexpr JsonByte escaped(char c) noexcept {
    JsonByte made(c);
    made.escape(static_cast<unsigned char>(c));
    return made;
  }
  [[nodiscard]] constexpr std::string_view text() const noexcept { return {text_.data(), size_}; }

 private:
  constexpr void escape(unsigned char byte) noexcept {
    text_ = {'\\', 'u', '0', '0', ascii::kHexDigits[byte >> 4U], ascii::kHexDigits[byte & 15U]};
    size_ = 6;
  }
  std::array<char, 6> text_{};
  std::uint8_t size_ = 0;
};

/// Appends `text` with its quotes. What is no UTF-8 in it becomes U+FFFD, so that every reader takes the whole.
void append_json_string(std::string& out, std::string_view text);

}  // namespace fiberd
