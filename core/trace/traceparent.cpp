#include "core/trace/traceparent.hpp"

#include <algorithm>

#include "core/base/characters.hpp"

namespace fiberd::trace {
namespace {

constexpr std::size_t kLargeMember = 128;

std::string_view trim(std::string_view text) noexcept {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

/// At most 16 digits, in lower case.
bool read_hex(std::string_view text, std::uint64_t& value) noexcept {
  value = 0;
  for (const char c : text) {
    const bool digit = ascii::is_digit(c);
    if (!digit && (c < 'a' || c > 'f')) return false;
    value = value << 4U | static_cast<std::uint64_t>(digit ? c - '0' : c - 'a' + 10);
  }
  return true;
}

bool is_key_part(std::string_view text) noexcept {
  return std::all_of(text.begin(), text.end(), [](char c) {
    return ascii::is_lower(c) || ascii::is_digit(c) || c == '_' || c == '-' || c == '*' || c == '/';
  });
}

/// Section 3.3.1.3.1.
bool is_key(std::string_view key) noexcept {
  if (key.empty()) return false;
  const std::size_t at = key.find('@');
  if (at == std::string_view::npos) return key.size() <= 256 && ascii::is_lower(key.front()) && is_key_part(key);
  const std::string_view tenant = key.substr(0, at);
  const std::string_view system = key.substr(at + 1);
  return !tenant.empty() && tenant.size() <= 241 &&
         (ascii::is_lower(tenant.front()) || ascii::is_digit(tenant.front())) && is_key_part(tenant) &&
         !system.empty() && system.size() <= 14 && ascii::is_lower(system.front()) && is_key_part(system);
}

/// Section 3.3.1.3.2. Blanks at its end are no part of it.
bool is_value(std::string_view value) noexcept {
  return !value.empty() && value.size() <= 256 &&
         std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c < 0x7f && c != ',' && c != '='; });
}

/// Takes out the last member with at least `least` characters. False: there is none.
bool drop_last(std::string& state, std::size_t least) {
  for (std::size_t end = state.size(); end != 0;) {
    const std::size_t comma = state.rfind(',', end - 1);
    const std::size_t begin = comma == std::string::npos ? 0 : comma + 1;
    if (end - begin >= least) {
      // With the comma before it, or, of the first, the one behind it.
      if (begin != 0)
        state.erase(begin - 1, end - begin + 1);
      else
        state.erase(0, std::min(end + 1, state.size()));
      return true;
    }
    end = begin == 0 ? 0 : begin - 1;
  }
  return false;
}

}  // namespace

std::optional<SpanContext> parse_traceparent(std::string_view text) noexcept {
  text = trim(text);
  if (text.size() < kTraceparentSize || text[2] != '-' || text[35] != '-' || text[52] != '-') return std::nullopt;
  std::uint64_t version = 0;
  std::uint64_t flags = 0;
  SpanContext span;
  if (!read_hex(text.substr(0, 2), version) || version == 0xff || !read_hex(text.substr(3, 16), span.trace_id.high) ||
      !read_hex(text.substr(19, 16), span.trace_id.low) || !read_hex(text.substr(36, 16), span.span_id.value) ||
      !read_hex(text.substr(53, 2), flags) || !span.valid())
    return std::nullopt;
  if (text.size() != kTraceparentSize && (version == 0 || text[kTraceparentSize] != '-')) return std::nullopt;
  span.sampled = (flags & 1U) != 0;
  return span;
}

std::array<char, kTraceparentSize> write_traceparent(const SpanContext& span) noexcept {
  std::array<char, kTraceparentSize> out;
  const auto trace = text_of(span.trace_id);
  const auto id = text_of(span.span_id);
  char* at = std::copy_n("00-", 3, out.data());
  at = std::copy(trace.begin(), trace.end(), at);
  *at++ = '-';
  at = std::copy(id.begin(), id.end(), at);
  std::copy_n(span.sampled ? "-01" : "-00", 3, at);
  return out;
}

bool append_tracestate(std::string_view text, std::string& state, std::size_t& members) {
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    const std::string_view member = trim(text.substr(0, comma));
    text.remove_prefix(std::min(comma + 1, text.size()));
    if (member.empty()) continue;
    const std::size_t equals = member.find('=');
    if (equals == std::string_view::npos || !is_key(member.substr(0, equals)) || !is_value(member.substr(equals + 1)) ||
        ++members > kMostMembers)
      return false;
    if (!state.empty()) state += ',';
    state += member;
  }
  return true;
}

void bound_tracestate(std::string& state) {
  while (state.size() > kMostState && drop_last(state, kLargeMember + 1)) {
  }
  while (state.size() > kMostState && drop_last(state, 1)) {
  }
}

}  // namespace fiberd::trace
