#include "core/trace/span_text.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>

#include "core/base/json.hpp"
#include "core/base/json_plain.hpp"
#include "core/base/utf8.hpp"

namespace fiberd::trace {
namespace {

template <class N>
void append_number(std::string& out, N number) {
  char text[32];
  out.append(text, std::to_chars(text, text + sizeof text, number).ptr);
}

/// "00" … "99".
constexpr auto kTwoDigits = [] {
  std::array<std::array<char, 2>, 100> digits{};
  for (std::size_t i = 0; i != digits.size(); ++i)
    digits[i] = {static_cast<char>('0' + i / 10), static_cast<char>('0' + i % 10)};
  return digits;
}();

/// Unix ns. Two numbers of 32 bits cost half of one of 64, and digits by pairs half of that.
void append_time(std::string& out, std::int64_t ns) {
  static constexpr std::int64_t kSecond = 1'000'000'000;
  if (ns < kSecond || ns / kSecond > UINT32_MAX) return append_number(out, ns);
  char digits[20];
  char* at = digits + sizeof digits;
  const auto put_pair = [&at](std::uint32_t pair) { std::memcpy(at -= 2, kTwoDigits[pair].data(), 2); };
  auto fraction = static_cast<std::uint32_t>(ns % kSecond);
  *--at = static_cast<char>('0' + fraction % 10);
  fraction /= 10;
  for (int i = 0; i != 4; ++i, fraction /= 100) put_pair(fraction % 100);
  auto seconds = static_cast<std::uint32_t>(ns / kSecond);
  for (; seconds >= 10; seconds /= 100) put_pair(seconds % 100);
  if (seconds != 0) *--at = static_cast<char>('0' + seconds);
  out.append(at, digits + sizeof digits);
}

/// With its quotes. Most texts stand as they are.
void append_text(std::string& out, std::string_view text) {
  if (plain_json_prefix(text) != text.size()) return append_json_string(out, text);
  out.append(1, '"').append(text).append(1, '"');
}

std::string_view cut(std::string_view text, std::size_t most) noexcept {
  return text.size() <= most ? text : text.substr(0, utf8_cut(text, most));
}

}  // namespace

void append_attribute(std::string& out, std::string_view key, const Value& value) {
  Attributes one;
  one.add(key, value);
  out += one.text();
}

/// What has been begun at `size` may stay; else it goes.
bool Attributes::may_add(std::size_t size, unsigned most) noexcept {
  if (count_ < most && text_.size() <= kMostText) {
    ++count_;
    return true;
  }
  text_.resize(size);
  ++dropped_;
  return false;
}

void Attributes::add_to_plain_key(std::string_view key, std::int64_t value) {
  if (count_ >= kMostAttributes || key.size() > kMostName) return add(key, Value(value));
  const std::size_t size = text_.size();
  text_.append(count_ == 0 ? "{\"key\":\"" : ",{\"key\":\"").append(key).append("\",\"value\":{\"intValue\":\"");
  append_number(text_, value);
  text_ += "\"}}";
  (void)may_add(size, kMostAttributes);
}

/// Most are short, and stand as they are: those are put together beside, and appended once. The key does.
bool Attributes::add_plain(std::string_view key, std::string_view value) {
  static constexpr std::string_view kBegin = ",{\"key\":\"";
  static constexpr std::string_view kMiddle = "\",\"value\":{\"stringValue\":\"";
  static constexpr std::string_view kEnd = "\"}}";
  static constexpr std::size_t kKey = 40;
  static constexpr std::size_t kValue = 120;
  std::array<char, kBegin.size() + kKey + kMiddle.size() + kValue + kEnd.size()> room;
  if (key.size() > kKey || value.size() > kValue || text_.size() + room.size() > kMostText ||
      plain_json_prefix(value) != value.size())
    return false;
  char* at = room.data();
  const auto put = [&at](std::string_view part) {
    std::memcpy(at, part.data(), part.size());
    at += part.size();
  };
  put(kBegin);
  put(key);
  put(kMiddle);
  put(value);
  put(kEnd);
  const char* const begin = room.data() + (count_ == 0 ? 1 : 0);
  text_.append(begin, static_cast<std::size_t>(at - begin));
  ++count_;
  return true;
}

void Attributes::add(std::string_view key, const Value& value) {
  if (count_ >= kMostAttributes) {
    ++dropped_;
    return;
  }
  const auto* const text = std::get_if<std::string_view>(&value);
  if (text != nullptr && plain_json_prefix(key) == key.size() && add_plain(key, *text)) return;
  const std::size_t size = text_.size();
  text_ += count_ == 0 ? "{\"key\":" : ",{\"key\":";
  append_json_string(text_, cut(key, kMostName));
  if (text != nullptr) {
    text_ += ",\"value\":{\"stringValue\":";
    append_json_string(text_, cut(*text, kMostValue));
  } else if (const auto* const whole = std::get_if<std::int64_t>(&value)) {
    text_ += ",\"value\":{\"intValue\":\"";
    append_number(text_, *whole);
    text_ += '"';
  } else if (const auto* const number = std::get_if<double>(&value)) {
    text_ += ",\"value\":{\"doubleValue\":";
    // JSON has no number for these; Protobuf's mapping names them.
    if (std::isnan(*number))
      text_ += "\"NaN\"";
    else if (std::isinf(*number))
      text_ += *number < 0 ? "\"-Infinity\"" : "\"Infinity\"";
    else
      append_number(text_, *number);
  } else {
    text_ += std::get<bool>(value) ? ",\"value\":{\"boolValue\":true" : ",\"value\":{\"boolValue\":false";
  }
  text_ += "}}";
  (void)may_add(size, kMostAttributes);
}

void Attributes::add_event(std::string_view name, std::int64_t at, std::span<const Attribute> attributes) {
  if (count_ >= kMostEvents) {
    ++dropped_;
    return;
  }
  Attributes own;
  for (const Attribute& a : attributes) own.add(a.key, a.value);
  const std::size_t size = text_.size();
  text_ += count_ == 0 ? "{\"timeUnixNano\":\"" : ",{\"timeUnixNano\":\"";
  append_number(text_, at);
  text_ += "\",\"name\":";
  append_json_string(text_, cut(name, kMostName));
  if (!own.text().empty()) text_.append(",\"attributes\":[").append(own.text()) += ']';
  if (own.dropped() != 0) append_number(text_.append(",\"droppedAttributesCount\":"), own.dropped());
  text_ += '}';
  (void)may_add(size, kMostEvents);
}

std::string write_span(const SpanFacts& f, const Attributes& attributes, const Attributes& events) {
  std::string out;
  out.reserve(352 + f.name.size() + f.tracestate.size() + attributes.text().size() + events.text().size());
  append_span(out, f, attributes, events);
  return out;
}

void append_span(std::string& out, const SpanFacts& f, const Attributes& attributes, const Attributes& events) {
  const auto id = [&out](std::string_view key, const auto& of) {
    const auto text = text_of(of);
    out.append(key).append(text.data(), text.size());
  };
  id("{\"traceId\":\"", f.span.trace_id);
  id("\",\"spanId\":\"", f.span.span_id);
  if (f.parent.valid()) id("\",\"parentSpanId\":\"", f.parent);
  if (!f.tracestate.empty()) {
    out += "\",\"traceState\":";
    append_json_string(out, f.tracestate);
    out += ",\"name\":";
  } else {
    out += "\",\"name\":";
  }
  append_text(out, cut(f.name, kMostName));
  out += ",\"kind\":";
  append_number(out, static_cast<unsigned>(f.kind));
  // Flags of W3C, and whether it is known that the parent is another process's: 0x100, and that it is: 0x200.
  out += ",\"flags\":";
  append_number(out, (f.span.sampled ? 1U : 0U) | 0x100U | (f.parent_is_remote ? 0x200U : 0U));
  out += ",\"startTimeUnixNano\":\"";
  append_time(out, f.begin);
  out += "\",\"endTimeUnixNano\":\"";
  append_time(out, std::max(f.begin, f.end));
  out += '"';
  if (!attributes.text().empty()) out.append(",\"attributes\":[").append(attributes.text()) += ']';
  if (attributes.dropped() != 0) append_number(out.append(",\"droppedAttributesCount\":"), attributes.dropped());
  if (!events.text().empty()) out.append(",\"events\":[").append(events.text()) += ']';
  if (events.dropped() != 0) append_number(out.append(",\"droppedEventsCount\":"), events.dropped());
  if (f.status != SpanStatus::unset) {
    append_number(out.append(",\"status\":{\"code\":"), static_cast<unsigned>(f.status));
    if (!f.message.empty()) {
      out += ",\"message\":";
      append_json_string(out, cut(f.message, kMostValue));
    }
    out += '}';
  }
  out += '}';
}

}  // namespace fiberd::trace
