#include "core/base/printable.hpp"

#include "core/base/characters.hpp"

namespace fiberd {

std::string printable(std::string_view text, std::size_t most) {
  std::string out;
  for (const char c : text.substr(0, most)) {
    const auto u = static_cast<unsigned char>(c);
    if (u >= 0x20 && u < 0x7f && c != '\\') {
      out += c;
    } else {
      out += "\\x";
      out += ascii::kHexDigits[u >> 4U];
      out += ascii::kHexDigits[u & 15U];
    }
  }
  return text.size() > most ? out + "…" : out;
}

}  // namespace fiberd
