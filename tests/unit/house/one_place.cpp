#include "tests/unit/house/one_place.hpp"

#include <algorithm>
#include <cctype>

namespace fiberd::house {

namespace {

/// Comments blanked, literals kept, and all white space one blank: code is found however it is broken into lines.
std::string as_searched(std::string_view source) {
  std::string out;
  const auto put = [&](char c) {
    const bool blank = std::isspace(static_cast<unsigned char>(c)) != 0;
    if (!blank)
      out += c;
    else if (out.empty() || out.back() != ' ')
      out += ' ';
  };
  for (std::size_t i = 0; i < source.size();) {
    const std::string_view rest = source.substr(i);
    std::size_t end = i + 1;
    if (rest.starts_with("//")) {
      end = std::min(source.find('\n', i), source.size());
      put(' ');
    } else if (rest.starts_with("/*")) {
      const std::size_t closing = source.find("*/", i + 2);
      end = closing == std::string_view::npos ? source.size() : closing + 2;
      put(' ');
    } else if (source[i] == '"' || (source[i] == '\'' && (i == 0 || !is_word(source[i - 1])))) {
      const char quote = source[i];
      while (end < source.size() && source[end] != quote && source[end] != '\n') end += source[end] == '\\' ? 2 : 1;
      end = std::min(end + 1, source.size());
      for (const char c : source.substr(i, end - i)) put(c);
    } else {
      put(source[i]);
    }
    i = end;
  }
  return out;
}

bool holds_sign(std::string_view code, std::string_view sign) {
  for (std::size_t at = code.find(sign); at != std::string_view::npos; at = code.find(sign, at + 1)) {
    const std::size_t end = at + sign.size();
    const bool begins = !is_word(sign.front()) || at == 0 || !is_word(code[at - 1]);
    const bool ends = !is_word(sign.back()) || end == code.size() || !is_word(code[end]);
    if (begins && ends) return true;
  }
  return false;
}

}  // namespace

const std::vector<Mechanism>& mechanisms() {
  static const std::vector<Mechanism> table = {
      {"tables of characters, tokens and digits",
       {"core/base/characters.hpp"},
       {"!#$%&'*+-.^_`|~", "\"0123456789abcdef\"", "\"0123456789ABCDEF\"", "char to_lower(char", "bool is_token(",
        "int hex_value(", "std::tolower", "std::isalnum", "std::isxdigit", "c >= 'a' && c <= 'z'",
        "c >= 'A' && c <= 'Z'"}},
      {"strings of JSON", {"core/base/json.hpp", "core/base/json.cpp"}, {"\\\\u00", "\"\\\\u", "'\\\\', 'u'"}},
      {"UTF-8", {"core/base/utf8.hpp", "core/base/utf8.cpp"}, {"\\xef\\xbf\\xbd", "0xF4", "0xf4"}},
      {"host:port",
       {"core/base/host_port.hpp", "core/base/host_port.cpp"},
       {"rfind(':')", "std::uint16_t port = 0; const auto [", "unsigned port = 0; const", "> 65'535", "<= 65535",
        "parse_port(std::string_view", "split_host_port(std::string_view", "struct HostPort {"}},
      {"keyed hashes",
       {"core/base/keyed_hash.hpp", "core/base/keyed_hash.cpp", "core/base/hash.hpp"},
       {"0x736f6d6570736575U", "0x646f72616e646f6dU", "0xa076'1d64'78bd'642fU", "std::uint64_t siphash(",
        "class KeyedHash {"}},
      {"lists of live connections",
       {"core/net/sessions.hpp"},
       {"class Sessions {", "List<Session> sessions_", "List<Connection> connections_"}},
  };
  return table;
}

std::vector<Violation> check_one_place(std::string_view path, std::string_view source) {
  std::vector<Violation> found;
  const std::string code = as_searched(source);
  for (const Mechanism& m : mechanisms()) {
    if (std::find(m.places.begin(), m.places.end(), path) != m.places.end()) continue;
    for (const std::string_view sign : m.signs)
      if (holds_sign(code, sign))
        found.push_back(
            {std::string(path), 0,
             std::string(m.what) + " stand in " + std::string(m.places.front()) + ": this has " + std::string(sign)});
  }
  return found;
}

}  // namespace fiberd::house
