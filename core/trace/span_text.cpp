#include "core/trace/span_text.hpp"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/base/json.hpp"
#include "core/base/utf8.hpp"

namespace fiberd::trace {
namespace {

template <class N>
void append_number(std::string& out, N number) {
  char text[32];
  out.append(text, std::to_chars(text, text + sizeof text, number).ptr);
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

void Attributes::add(std::string_view key, const Value& value) {
  if (count_ >= kMostAttributes) {
    ++dropped_;
    return;
  }
  const std::size_t size = text_.size();
  text_ += count_ == 0 ? "{\"key\":" : ",{\"key\":";
  append_json_string(text_, cut(key, kMostName));
  switch (value.type_) {
    case Value::Type::text:
      text_ += ",\"value\":{\"stringValue\":";
      append_json_string(text_, cut(value.text_, kMostValue));
      break;
    case Value::Type::whole:
      text_ += ",\"value\":{\"intValue\":\"";
      append_number(text_, value.whole_);
      text_ += '"';
      break;
    case Value::Type::number:
      text_ += ",\"value\":{\"doubleValue\":";
      // JSON has no number for these; Protobuf's mapping names them.
      if (std::isnan(value.number_))
        text_ += "\"NaN\"";
      else if (std::isinf(value.number_))
        text_ += value.number_ < 0 ? "\"-Infinity\"" : "\"Infinity\"";
      else
        append_number(text_, value.number_);
      break;
    case Value::Type::truth:
      text_ += value.whole_ != 0 ? ",\"value\":{\"boolValue\":true" : ",\"value\":{\"boolValue\":false";
      break;
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
  append_json_string(out, cut(f.name, kMostName));
  out += ",\"kind\":";
  append_number(out, static_cast<unsigned>(f.kind));
  // Flags of W3C, and whether it is known that the parent is another process's: 0x100, and that it is: 0x200.
  out += ",\"flags\":";
  append_number(out, (f.span.sampled ? 1U : 0U) | 0x100U | (f.parent_is_remote ? 0x200U : 0U));
  out += ",\"startTimeUnixNano\":\"";
  append_number(out, f.begin);
  out += "\",\"endTimeUnixNano\":\"";
  append_number(out, std::max(f.begin, f.end));
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
  return out;
}

}  // namespace fiberd::trace
