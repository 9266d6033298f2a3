#include "core/base/json.hpp"

#include <algorithm>

#include "core/base/json_plain.hpp"
#include "core/base/utf8.hpp"

namespace fiberd {

void append_json_string(std::string& out, std::string_view text) {
  out += '"';
  while (!text.empty()) {
    // Most of it is as it is.
    const std::size_t plain = plain_json_prefix(text);
    out.append(text.data(), plain);
    text.remove_prefix(plain);
    if (text.empty()) break;
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
