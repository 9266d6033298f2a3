#include "core/http/negotiation.hpp"

#include <algorithm>

#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

constexpr int kDefault = 1000;

/// The next piece of `rest` up to `separator` outside of quotes, trimmed; `rest` goes on behind it.
std::string_view next_piece(std::string_view& rest, char separator) noexcept {
  bool quoted = false;
  std::size_t i = 0;
  for (; i < rest.size(); ++i) {
    if (quoted && rest[i] == '\\') {
      ++i;
    } else if (rest[i] == '"') {
      quoted = !quoted;
    } else if (!quoted && rest[i] == separator) {
      break;
    }
  }
  i = std::min(i, rest.size());
  const std::string_view piece = trim(rest.substr(0, i));
  rest.remove_prefix(std::min(i + 1, rest.size()));
  return piece;
}

/// Splits "name;a=b;q=0.5": what stands before the first semicolon, and the quality; negative when malformed.
std::string_view name_and_quality(std::string_view element, int& quality) noexcept {
  const std::string_view name = next_piece(element, ';');
  quality = kDefault;
  while (!element.empty()) {
    const std::string_view parameter = next_piece(element, ';');
    if (parameter.size() >= 2 && to_lower(parameter[0]) == 'q' && parameter[1] == '=')
      quality = parse_quality(parameter.substr(2));
  }
  return name;
}

template <class Visit>
void for_each_element(const HeaderView& headers, std::string_view field, Visit visit) noexcept {
  for (std::size_t i = headers.index_of(field); i < headers.size(); i = headers.index_of(field, i + 1)) {
    std::string_view rest = headers[i].value;
    while (!rest.empty()) {
      const std::string_view element = next_piece(rest, ',');
      if (element.empty()) continue;
      int quality = 0;
      const std::string_view name = name_and_quality(element, quality);
      if (quality >= 0) visit(name, quality);
    }
  }
}

/// How closely a media range fits a type: 0 not at all, 1 */*, 2 type/*, 3 by its suffix, 4 the type itself.
int closeness(std::string_view range, std::string_view type) noexcept {
  if (range == "*/*") return 1;
  const std::size_t slash = type.find('/');
  if (range.size() == slash + 2 && range.ends_with("/*") && equals_lower(range.substr(0, slash), type.substr(0, slash)))
    return 2;
  if (equals_lower(range, "application/json") && type.ends_with("+json")) return 3;
  return equals_lower(range, type) ? 4 : 0;
}

}  // namespace

int parse_quality(std::string_view text) noexcept {
  if (text.empty() || text.size() > 5 || (text[0] != '0' && text[0] != '1')) return -1;
  if (text.size() > 1 && text[1] != '.') return -1;
  int value = (text[0] - '0') * 1000;
  int scale = 100;
  for (const char c : text.substr(std::min<std::size_t>(2, text.size()))) {
    if (!is_class(c, chars::kDigit)) return -1;
    value += (c - '0') * scale;
    scale /= 10;
  }
  return value > 1000 ? -1 : value;
}

std::size_t choose_encoding(const HeaderView& headers, std::span<const std::string_view> available) noexcept {
  int wildcard = -1;
  int identity = -1;
  for_each_element(headers, "accept-encoding", [&](std::string_view name, int quality) {
    if (name == "*") wildcard = quality;
    if (equals_lower(name, "identity")) identity = quality;
  });
  std::size_t best = kIdentity;
  int best_quality = std::max(identity, 0);
  for (std::size_t i = 0; i < available.size(); ++i) {
    int named = -1;
    for_each_element(headers, "accept-encoding", [&](std::string_view name, int quality) {
      if (equals_lower(name, available[i]) || (available[i] == "gzip" && equals_lower(name, "x-gzip"))) named = quality;
    });
    const int quality = named >= 0 ? named : std::max(wildcard, 0);
    if (quality > best_quality || (quality == best_quality && quality > 0 && best == kIdentity)) {
      best = i;
      best_quality = quality;
    }
  }
  return best;
}

std::size_t choose_media_type(const HeaderView& headers, std::span<const std::string_view> available) noexcept {
  std::size_t best = 0;
  int best_quality = 0;
  for (std::size_t i = 0; i < available.size(); ++i) {
    int closest = 0;
    int quality = 0;
    for_each_element(headers, "accept", [&](std::string_view range, int q) {
      const int c = closeness(range, available[i]);
      if (c > closest) {
        closest = c;
        quality = q;
      }
    });
    if (quality > best_quality) {
      best = i;
      best_quality = quality;
    }
  }
  return best;
}

}  // namespace fiberd::http
