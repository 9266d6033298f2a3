#include "core/base/printable.hpp"

#include <algorithm>

#include "core/base/characters.hpp"

namespace fiberd {

template <class Stays>
static std::string escaped(std::string_view text, Stays stays) {
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto u = static_cast<unsigned char>(c);
    if (stays(u))
      out += c;
    else
      out += {'\\', 'x', ascii::kHexDigits[u >> 4U], ascii::kHexDigits[u & 15U]};
  }
  return out;
}

std::string printable(std::string_view text, std::size_t most) {
  std::string out = escaped(text.substr(0, most), [](unsigned char u) { return u >= 0x20 && u < 0x7f && u != '\\'; });
  return text.size() > most ? out + "…" : out;
}

std::string quoted(std::string_view text, std::size_t most) {
  std::string out = "\"";
  for (const char c : printable(text, most)) {
    if (c == '"') out += '\\';
    out += c;
  }
  return out + "\"";
}

std::string in_one_line(std::string_view text) {
  return escaped(text, [](unsigned char u) { return u >= 0x20 && u != 0x7f; });
}

std::string in_lines(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const std::size_t end = std::min(text.find('\n'), text.size());
    out += in_one_line(text.substr(0, end)) + "\n";
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return out;
}

}  // namespace fiberd
