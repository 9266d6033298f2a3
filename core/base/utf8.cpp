#include "core/base/utf8.hpp"

#include <algorithm>

namespace fiberd {

std::size_t utf8_length(std::string_view s) noexcept {
  if (s.empty()) return 0;
  const auto lead = static_cast<unsigned char>(s.front());
  const unsigned length = lead < 0x80                   ? 1
                          : lead >= 0xC2 && lead < 0xE0 ? 2
                          : lead >= 0xE0 && lead < 0xF0 ? 3
                          : lead >= 0xF0 && lead < 0xF5 ? 4
                                                        : 0;
  if (length == 0 || s.size() < length) return 0;
  for (unsigned k = 1; k < length; ++k)
    if ((static_cast<unsigned char>(s[k]) & 0xC0U) != 0x80) return 0;
  const auto second = length > 1 ? static_cast<unsigned char>(s[1]) : 0U;
  if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || (lead == 0xF0 && second < 0x90) ||
      (lead == 0xF4 && second > 0x8F))
    return 0;
  return length;
}

bool is_utf8(std::string_view s) noexcept {
  while (!s.empty()) {
    const std::size_t n = utf8_length(s);
    if (n == 0) return false;
    s.remove_prefix(n);
  }
  return true;
}

std::string well_formed(std::string_view s) {
  std::string out;
  out.reserve(s.size());
  while (!s.empty()) {
    const std::size_t n = utf8_length(s);
    out += n != 0 ? s.substr(0, n) : kReplacementCharacter;
    s.remove_prefix(std::max<std::size_t>(n, 1));
  }
  return out;
}

std::size_t utf8_cut(std::string_view s, std::size_t most) noexcept {
  if (s.size() <= most) return s.size();
  // At most three bytes continue one.
  for (std::size_t n = most; n + 3 >= most; --n) {
    if ((static_cast<unsigned char>(s[n]) & 0xC0U) != 0x80) return n;
    if (n == 0) break;
  }
  return most;  // it is none
}

}  // namespace fiberd
