#include "daemon/services/aggregate/statsd_line.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>

#include "core/base/characters.hpp"
#include "core/base/utf8.hpp"

namespace fiberd::daemon::aggregate {

namespace {

constexpr std::uint8_t kNameFirst = 1;
constexpr std::uint8_t kNameRest = 2;
constexpr std::uint8_t kTagFirst = 4;
constexpr std::uint8_t kTagText = 8;  // any byte of a tag but the comma and the bar

constexpr std::array<std::uint8_t, 256> kClasses = [] {
  std::array<std::uint8_t, 256> table{};
  for (unsigned c = 0; c < table.size(); ++c) {
    const bool letter = ascii::is_alpha(static_cast<char>(c)) || c == '_';
    const bool digit = ascii::is_digit(static_cast<char>(c));
    if (letter || digit) table[c] |= kNameFirst;
    if (letter || digit || c == '.' || c == '-' || c == '/') table[c] |= kNameRest;
    if (letter) table[c] |= kTagFirst;
    if (c >= 0x20 && c != 0x7f && c != ',' && c != '|') table[c] |= kTagText;
  }
  return table;
}();

bool is(char c, std::uint8_t what) noexcept { return (kClasses[static_cast<unsigned char>(c)] & what) != 0; }

bool parse_type(std::string_view text, StatsdType& type) noexcept {
  if (text.size() == 1) {
    switch (text[0]) {
      case 'c': type = StatsdType::counter; return true;
      case 'g': type = StatsdType::gauge; return true;
      case 'h': type = StatsdType::histogram; return true;
      case 'd': type = StatsdType::distribution; return true;
      case 's': type = StatsdType::set; return true;
      default: return false;
    }
  }
  type = StatsdType::timer;
  return text == "ms";
}

/// A decimal number that fills [begin, end), without the sign that from_chars does not know ('+').
bool parse_number(const char* begin, const char* end, double& value) noexcept {
  // Most values are short whole numbers; anything else is read again.
  static constexpr std::ptrdiff_t kExactDigits = 15;
  if (end - begin <= kExactDigits) {
    std::uint64_t whole = 0;
    const char* at = begin;
    for (; at != end && *at >= '0' && *at <= '9'; ++at) whole = whole * 10 + static_cast<std::uint64_t>(*at - '0');
    if (at == end) {
      value = static_cast<double>(whole);
      return begin != end;
    }
  }
  // from_chars reads "inf" and "nan" too: digits and points only.
  const char* const first = begin != end && *begin == '-' ? begin + 1 : begin;
  if (first == end || !((*first >= '0' && *first <= '9') || *first == '.')) return false;
  const auto [stop, error] = std::from_chars(begin, end, value);
  return error == std::errc() && stop == end && std::abs(value) <= kMaxValue;
}

StatsdError parse_values(std::string_view text, StatsdLine& out) noexcept {
  const bool gauge = out.type == StatsdType::gauge;
  out.count = 0;
  out.relative = 0;
  const char* begin = text.data();
  const char* const end = begin + text.size();
  for (;;) {
    const char* stop = begin;
    while (stop != end && *stop != ':') ++stop;
    if (out.count == kMaxValues) return StatsdError::value;
    if (gauge && begin != stop && (*begin == '+' || *begin == '-')) {
      out.relative |= std::uint64_t{1} << out.count;
      if (*begin == '+') {
        ++begin;
        if (begin != stop && *begin == '-') return StatsdError::value;
      }
    }
    double& value = out.values[out.count];
    if (!parse_number(begin, stop, value)) return StatsdError::value;
    // What Prometheus calls a counter never goes down.
    if (out.type == StatsdType::counter && std::signbit(value)) return StatsdError::value;
    ++out.count;
    if (stop == end) return StatsdError::none;
    begin = stop + 1;
  }
}

StatsdError parse_tags(std::string_view tags, StatsdLine& out) noexcept {
  if (tags.size() > kMaxTagsSize) return StatsdError::tags;
  std::size_t count = 0;
  std::string_view before;
  bool ascii = true;
  const char* begin = tags.data();
  const char* const end = begin + tags.size();
  for (;;) {
    if (begin == end || !is(*begin, kTagFirst)) return StatsdError::tags;
    const char* stop = begin + 1;
    while (stop != end && is(*stop, kNameRest)) ++stop;
    if (stop != end && *stop != ',') {
      if (*stop != ':' || stop + 1 == end || stop[1] == ',') return StatsdError::tags;
      for (++stop; stop != end && is(*stop, kTagText); ++stop) ascii &= static_cast<signed char>(*stop) >= 0;
      if (stop != end && *stop != ',') return StatsdError::tags;
    }
    const std::string_view tag(begin, static_cast<std::size_t>(stop - begin));
    if (tag.size() > kMaxTag || ++count > kMaxTags) return StatsdError::tags;
    out.tags_in_order &= before < tag;
    before = tag;
    if (stop == end) break;
    begin = stop + 1;
  }
  if (!ascii && !is_utf8(tags)) return StatsdError::tags;
  out.tags = tags;
  return StatsdError::none;
}

StatsdError parse_rate(std::string_view text, StatsdLine& out) noexcept {
  double rate = 0;
  if (!parse_number(text.data(), text.data() + text.size(), rate) || !(rate >= kMinRate && rate <= 1))
    return StatsdError::rate;
  if (out.type != StatsdType::gauge && out.type != StatsdType::set) out.weight = 1 / rate;
  return StatsdError::none;
}

}  // namespace

std::string_view symbol(StatsdType type) noexcept {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(StatsdType::count_)> kSymbols{"c", "g", "ms",
                                                                                                       "h", "d", "s"};
  return kSymbols[static_cast<std::size_t>(type)];
}

std::string_view to_string(StatsdType type) noexcept {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(StatsdType::count_)> kNames{
      "counter", "gauge", "timer", "histogram", "distribution", "set"};
  return kNames[static_cast<std::size_t>(type)];
}

std::string_view to_string(StatsdError error) noexcept {
  static constexpr std::array<std::string_view, static_cast<std::size_t>(StatsdError::count_)> kNames{
      "none", "name", "value", "type", "rate", "tags", "section", "length"};
  return kNames[static_cast<std::size_t>(error)];
}

StatsdError parse_statsd_line(std::string_view line, StatsdLine& out) noexcept {
  const char* const end = line.data() + line.size();
  const char* at = line.data();
  if (at == end || !is(*at, kNameFirst)) return StatsdError::name;
  while (at != end && is(*at, kNameRest)) ++at;
  out.name = {line.data(), static_cast<std::size_t>(at - line.data())};
  if (out.name.size() > kMaxName) return StatsdError::name;
  if (at == end || *at != ':') return at == end || *at == '|' ? StatsdError::value : StatsdError::name;
  const char* const values = ++at;
  while (at != end && *at != '|') ++at;
  const std::string_view value_text(values, static_cast<std::size_t>(at - values));
  if (at == end) return StatsdError::type;
  const char* const type = ++at;
  while (at != end && *at != '|') ++at;
  if (!parse_type({type, static_cast<std::size_t>(at - type)}, out.type)) return StatsdError::type;
  out.weight = 1;
  out.tags = {};
  out.tags_in_order = true;
  if (out.type == StatsdType::set) {
    out.count = 0;
    out.relative = 0;
    out.member = value_text;
    if (value_text.empty() || value_text.size() > kMaxMember) return StatsdError::value;
    if (!std::all_of(value_text.begin(), value_text.end(), [](char c) { return is(c, kTagText) || c == ','; }))
      return StatsdError::value;
  } else if (const StatsdError error = parse_values(value_text, out); error != StatsdError::none) {
    return error;
  }
  bool rate = false;
  bool tags = false;
  while (at != end) {
    const char* const section = ++at;
    while (at != end && *at != '|') ++at;
    const std::string_view text(section, static_cast<std::size_t>(at - section));
    StatsdError error = StatsdError::section;
    if (text.starts_with('@') && !rate) {
      rate = true;
      error = parse_rate(text.substr(1), out);
    } else if (text.starts_with('#') && !tags) {
      tags = true;
      error = parse_tags(text.substr(1), out);
    } else if (text.starts_with("c:") || text.starts_with("e:")) {
      error = StatsdError::none;  // where the client runs: of use to an agent on the same machine only
    }
    if (error != StatsdError::none) return error;
  }
  return StatsdError::none;
}

std::string_view sort_tags(std::string_view tags, char* scratch) noexcept {
  std::array<std::string_view, kMaxTags> parts;
  std::size_t count = 0;
  std::string_view rest = tags;
  while (count < kMaxTags) {
    const std::size_t comma = rest.find(',');
    parts[count++] = rest.substr(0, comma);
    if (comma == std::string_view::npos) break;
    rest.remove_prefix(comma + 1);
  }
  std::sort(parts.begin(), parts.begin() + static_cast<std::ptrdiff_t>(count));
  char* to = scratch;
  for (std::size_t i = 0; i < count; ++i) {
    if (i != 0) *to++ = ',';
    to = std::copy(parts[i].begin(), parts[i].end(), to);
  }
  return {scratch, static_cast<std::size_t>(to - scratch)};
}

}  // namespace fiberd::daemon::aggregate
