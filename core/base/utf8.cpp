#include "core/base/utf8.hpp"

#include <cstddef>

namespace fiberd {

bool is_utf8(std::string_view s) noexcept {
  for (std::size_t i = 0; i < s.size();) {
    const auto lead = static_cast<unsigned char>(s[i]);
    const unsigned length = lead < 0x80                   ? 1
                            : lead >= 0xC2 && lead < 0xE0 ? 2
                            : lead >= 0xE0 && lead < 0xF0 ? 3
                            : lead >= 0xF0 && lead < 0xF5 ? 4
                                                          : 0;
    if (length == 0 || s.size() - i < length) return false;
    for (unsigned k = 1; k < length; ++k)
      if ((static_cast<unsigned char>(s[i + k]) & 0xC0U) != 0x80) return false;
    const auto second = length > 1 ? static_cast<unsigned char>(s[i + 1]) : 0U;
    if ((lead == 0xE0 && second < 0xA0) || (lead == 0xED && second > 0x9F) || (lead == 0xF0 && second < 0x90) ||
        (lead == 0xF4 && second > 0x8F))
      return false;
    i += length;
  }
  return true;
}

}  // namespace fiberd
