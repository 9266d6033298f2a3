#include "core/http/files/conditional.hpp"

#include <optional>

#include "core/http/date.hpp"

namespace fiberd::http {
namespace {

enum class Match : std::uint8_t { none, some, malformed };

constexpr bool is_etag_char(char c) noexcept {
  const auto u = static_cast<unsigned char>(c);
  return u == 0x21 || (u >= 0x23 && u != 0x7f);
}

/// The entity-tag at the beginning of `text`; empty when there is none.
constexpr std::string_view leading_tag(std::string_view text) noexcept {
  const std::size_t open = text.starts_with("W/") ? 2 : 0;
  if (text.size() <= open || text[open] != '"') return {};
  std::size_t i = open + 1;
  while (i < text.size() && is_etag_char(text[i])) ++i;
  return i < text.size() && text[i] == '"' ? text.substr(0, i + 1) : std::string_view();
}

constexpr bool is_weak(std::string_view tag) noexcept { return tag.starts_with("W/"); }
constexpr std::string_view opaque(std::string_view tag) noexcept { return is_weak(tag) ? tag.substr(2) : tag; }

/// `strong`: RFC 9110 section 8.8.3.2's strong comparison, else the weak one.
constexpr bool same_tag(std::string_view a, std::string_view b, bool strong) noexcept {
  if (a.empty() || b.empty() || (strong && (is_weak(a) || is_weak(b)))) return false;
  return opaque(a) == opaque(b);
}

/// Whether a list of entity-tags, in one or several fields, has `etag`, or is `*`.
Match match_list(const HeaderView& headers, std::string_view name, std::string_view etag, bool strong) noexcept {
  bool found = false;
  std::size_t fields = 0;
  bool any = false;
  for (std::size_t i = headers.index_of(name); i < headers.size(); i = headers.index_of(name, i + 1)) {
    std::string_view rest = trim(headers[i].value);
    ++fields;
    if (rest == "*") {
      any = true;
      continue;
    }
    if (rest.empty()) return Match::malformed;
    while (!rest.empty()) {
      if (rest.front() == ',' || rest.front() == ' ' || rest.front() == '\t') {
        rest.remove_prefix(1);
        continue;
      }
      const std::string_view tag = leading_tag(rest);
      if (tag.empty()) return Match::malformed;
      found = found || same_tag(tag, etag, strong);
      rest = trim(rest.substr(tag.size()));
      if (!rest.empty() && rest.front() != ',') return Match::malformed;
    }
  }
  if (any) return fields == 1 ? Match::some : Match::malformed;
  return found ? Match::some : Match::none;
}

std::optional<std::time_t> only_date(const HeaderView& headers, std::string_view name, std::time_t now) noexcept {
  const std::size_t i = headers.index_of(name);
  if (i == headers.size() || headers.index_of(name, i + 1) != headers.size()) return std::nullopt;
  return parse_date(headers[i].value, now);
}

}  // namespace

bool is_entity_tag(std::string_view text) noexcept { return !text.empty() && leading_tag(text) == text; }

Precondition evaluate_preconditions(const Request& request, const Validators& v, std::time_t now) noexcept {
  const HeaderView& h = request.headers;
  const bool dated = v.last_modified >= 0;
  if (h.has("if-match")) {
    if (match_list(h, "if-match", v.etag, true) != Match::some) return Precondition::failed;
  } else if (const auto since = only_date(h, "if-unmodified-since", now); since && dated && v.last_modified > *since) {
    return Precondition::failed;
  }
  const bool safe = request.method == Method::get || request.method == Method::head;
  if (h.has("if-none-match")) {
    if (match_list(h, "if-none-match", v.etag, false) == Match::some)
      return safe ? Precondition::not_modified : Precondition::failed;
  } else if (safe) {
    if (const auto since = only_date(h, "if-modified-since", now); since && dated && v.last_modified <= *since)
      return Precondition::not_modified;
  }
  return Precondition::proceed;
}

bool if_range_holds(const HeaderView& headers, const Validators& v, std::time_t now) noexcept {
  const std::size_t i = headers.index_of("if-range");
  if (i == headers.size()) return true;
  if (headers.index_of("if-range", i + 1) != headers.size()) return false;
  const std::string_view value = headers[i].value;
  if (is_entity_tag(value)) return same_tag(value, v.etag, true);
  const auto date = parse_date(value, now);
  return date && v.last_modified >= 0 && *date == v.last_modified && v.last_modified < now - 1;
}

}  // namespace fiberd::http
