#include "core/http/forwarded.hpp"

#include <algorithm>
#include <charconv>

#include "core/base/host_port.hpp"
#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

using net::Endpoint;

// Longer than any address with brackets and port: what is longer is none, and is not copied.
constexpr std::size_t kLongestNode = 64;

/// Whether the quote at `at` is escaped: an odd number of backslashes stands before it. Counts no further than `text`
/// begins; each run of backslashes stands before one quote, so this is linear over all quotes.
bool is_escaped(std::string_view text, std::size_t at) noexcept {
  std::size_t begin = at;
  while (begin != 0 && text[begin - 1] == '\\') --begin;
  return (at - begin) % 2 == 1;
}

/// The last element of `list`, trimmed, which is taken off with its comma. Commas in quotes do not count. A quote that
/// does not open again in the list leaves all of the rest as one element.
std::string_view last_element(std::string_view& list) noexcept {
  std::size_t i = list.size();
  bool quoted = false;
  while (i != 0) {
    const char c = list[i - 1];
    if (c == '"' && !(quoted && is_escaped(list, i - 1))) quoted = !quoted;
    if (c == ',' && !quoted) break;
    --i;
  }
  const std::string_view element = trim(list.substr(i));
  list = list.substr(0, i == 0 ? 0 : i - 1);
  return element;
}

/// X-Forwarded-For knows no quotes.
std::string_view last_plain_element(std::string_view& list) noexcept {
  const std::size_t comma = list.rfind(',');
  const bool only = comma == std::string_view::npos;
  const std::string_view element = trim(only ? list : list.substr(comma + 1));
  list = only ? std::string_view() : list.substr(0, comma);
  return element;
}

/// The value of parameter `name` of one element of Forwarded, unquoted into `copy`; empty when there is none, or more
/// than one.
std::string_view parameter(std::string_view element, std::string_view name, char (&copy)[kLongestNode]) noexcept {
  std::string_view node;
  bool found = false;
  while (!element.empty()) {
    element = trim(element);
    const std::size_t equals = element.find('=');
    if (equals == std::string_view::npos || !is_token(element.substr(0, equals))) return {};
    const bool wanted = equals_lower(element.substr(0, equals), name);
    element.remove_prefix(equals + 1);
    std::size_t size = 0;
    std::size_t end = 0;
    if (element.starts_with('"')) {
      for (end = 1; end < element.size() && element[end] != '"'; ++end) {
        if (element[end] == '\\') ++end;
        if (end >= element.size()) return {};
        if (!wanted) continue;
        if (size == kLongestNode) return {};
        copy[size++] = element[end];
      }
      if (end >= element.size()) return {};
      ++end;
    } else {
      end = std::min(element.find(';'), element.size());
      const std::string_view value = trim(element.substr(0, end));
      if (wanted) {
        if (value.size() > kLongestNode) return {};
        size = value.copy(copy, kLongestNode);
      }
    }
    if (wanted) {
      if (found) return {};
      found = true;
      node = {copy, size};
    }
    element = trim(element.substr(end));
    if (element.empty()) break;
    if (element.front() != ';') return {};
    element.remove_prefix(1);
  }
  return node;
}

}  // namespace

Endpoint parse_node(std::string_view text) noexcept {
  if (text.size() > kLongestNode) return Endpoint();
  HostPort parts;
  const HostPortError error = split_host_port(text, parts);
  if (error == HostPortError::bare_colons)
    parts = {.host = text, .port = {}};  // an IPv6 address, without port
  else if (error != HostPortError::none || (parts.brackets && parts.host.find(':') == std::string_view::npos))
    return Endpoint();
  Result<Endpoint> parsed = net::parse_address(parts.host);
  if (!parsed) return Endpoint();
  if (parts.has_port) {
    const std::optional<std::uint16_t> port = parse_port(parts.port);
    if (!port) return Endpoint();
    parsed->set_port(*port);
  }
  return *parsed;
}

Endpoint client_address(const Endpoint& peer, const HeaderView& headers, const net::AddressRanges& trusted,
                        ForwardedField field) noexcept {
  if (!trusted.contains(peer)) return peer;
  const bool standard = field == ForwardedField::forwarded;
  const std::string_view name = standard ? "forwarded" : "x-forwarded-for";
  Endpoint known = peer;
  // Several fields are one list (RFC 9110 section 5.2); the last one ends it.
  for (std::size_t i = headers.size(); i != 0; --i) {
    const Field line = headers[i - 1];
    if (!equals_lower(line.name, name)) continue;
    std::string_view list = line.value;
    while (!list.empty()) {
      const std::string_view element = standard ? last_element(list) : last_plain_element(list);
      if (element.empty()) continue;
      char copy[kLongestNode];
      const Endpoint told = parse_node(standard ? parameter(element, "for", copy) : element);
      if (told.family() == AF_UNSPEC) return known;
      known = told;
      if (!trusted.contains(known)) return known;
    }
  }
  return known;
}

std::string_view client_scheme(const Endpoint& peer, const HeaderView& headers, const net::AddressRanges& trusted,
                               ForwardedField field) noexcept {
  if (!trusted.contains(peer)) return {};
  const bool standard = field == ForwardedField::forwarded;
  const std::string_view name = standard ? "forwarded" : "x-forwarded-proto";
  for (std::size_t i = headers.size(); i != 0; --i) {
    const Field line = headers[i - 1];
    if (!equals_lower(line.name, name)) continue;
    std::string_view list = line.value;
    char copy[kLongestNode];
    const std::string_view told = standard ? parameter(last_element(list), "proto", copy) : last_plain_element(list);
    if (equals_lower(told, "https")) return "https";
    if (equals_lower(told, "http")) return "http";
    return {};
  }
  return {};
}

}  // namespace fiberd::http
