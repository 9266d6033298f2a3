#pragma once
// What of a text stands in JSON as it is: for who writes many short texts.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "core/base/characters.hpp"

namespace fiberd {

/// How many bytes at the beginning stand for themselves, eight at a time. What is taken for one that does not, by a
/// borrow from the byte below, is left to the loop behind.
[[nodiscard]] inline std::size_t plain_json_prefix(std::string_view text) noexcept {
  static constexpr std::uint64_t kOnes = 0x0101010101010101U;
  static constexpr std::uint64_t kHighs = kOnes << 7U;
  std::size_t n = 0;
  for (; n + 8 <= text.size(); n += 8) {
    std::uint64_t w = 0;
    std::memcpy(&w, text.data() + n, 8);
    const std::uint64_t quote = w ^ (kOnes * '"');
    const std::uint64_t backslash = w ^ (kOnes * '\\');
    const std::uint64_t special = (w - kOnes * 0x20) | (w + kOnes) | w | (quote - kOnes) | (backslash - kOnes);
    if ((special & kHighs) != 0) break;
  }
  while (n != text.size() && ascii::is_plain(text[n])) ++n;
  return n;
}

}  // namespace fiberd
