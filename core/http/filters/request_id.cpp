#include "core/http/filters/request_id.hpp"

#include <algorithm>

#include "core/http/characters.hpp"

namespace fiberd::http {

std::array<char, 32> format_request_id(std::uint64_t high, std::uint64_t low) noexcept {
  std::array<char, 32> text{};
  for (std::size_t i = 0; i < 16; ++i) {
    text[15 - i] = kHexDigits[high >> (4 * i) & 15U];
    text[31 - i] = kHexDigits[low >> (4 * i) & 15U];
  }
  return text;
}

bool is_request_id(std::string_view text) noexcept {
  static constexpr std::string_view marks = "-_.:/+=@";
  return text.size() >= 8 && text.size() <= kMaxRequestId && std::all_of(text.begin(), text.end(), [](char c) {
           return is_alnum(c) || marks.find(c) != std::string_view::npos;
         });
}

}  // namespace fiberd::http
