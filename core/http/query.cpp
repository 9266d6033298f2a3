#include "core/http/query.hpp"

#include <algorithm>

#include "core/base/characters.hpp"

namespace fiberd::http {

static std::string decoded(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const int high = text[i] == '%' && i + 2 < text.size() ? ascii::hex_value(text[i + 1]) : -1;
    const int low = high >= 0 ? ascii::hex_value(text[i + 2]) : -1;
    if (low >= 0) {
      out += static_cast<char>(high * 16 + low);
      i += 2;
    } else {
      out += text[i] == '+' ? ' ' : text[i];
    }
  }
  return out;
}

/// Takes the first parameter, "name" or "name=value", off `query`, which is not empty.
static std::string_view take_parameter(std::string_view& query) noexcept {
  const std::size_t end = query.find('&');
  const std::string_view part = query.substr(0, end);
  query = end == std::string_view::npos ? std::string_view() : query.substr(end + 1);
  return part;
}

std::optional<std::string> query_value(std::string_view query, std::string_view name) {
  if (query.starts_with('?')) query.remove_prefix(1);
  while (!query.empty()) {
    const std::string_view part = take_parameter(query);
    const std::size_t equals = part.find('=');
    if (decoded(part.substr(0, equals)) != name) continue;
    return equals == std::string_view::npos ? std::string() : decoded(part.substr(equals + 1));
  }
  return std::nullopt;
}

std::optional<std::string> unknown_query_name(std::string_view query, std::initializer_list<std::string_view> known) {
  if (query.starts_with('?')) query.remove_prefix(1);
  while (!query.empty()) {
    const std::string_view part = take_parameter(query);
    if (part.empty()) continue;
    std::string name = decoded(part.substr(0, part.find('=')));
    if (std::find(known.begin(), known.end(), name) == known.end()) return name;
  }
  return std::nullopt;
}

}  // namespace fiberd::http
