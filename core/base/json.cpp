#include "core/base/json.hpp"

#include <algorithm>

#include "core/base/utf8.hpp"

namespace fiberd {

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    const std::size_t n = utf8_length(text);
    if (n == 1)
      out += JsonByte(text.front()).text();
    else
      out += n != 0 ? text.substr(0, n) : kReplacementCharacter;
    text.remove_prefix(std::max<std::size_t>(n, 1));
  }
  out += '"';
}

}  // namespace fiberd
