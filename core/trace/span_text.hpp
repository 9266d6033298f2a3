#pragma once
// Spans as OTLP's JSON has them (opentelemetry-proto 1.x, "JSON Protobuf Encoding"): ids in hexadecimal, enumerations
// as numbers, 64-bit numbers as strings. Written piece by piece, for a span is written on the fiber whose work it tells
// of.
//
// Everything is bounded: names, keys, texts, how many there are of each, and all together. What is beyond is cut, or
// left out and counted in the span, where OTLP has a place for it. Texts may be anybody's: what is no UTF-8 becomes
// U+FFFD.
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>
#include <string_view>
#include <variant>

#include "core/trace/ids.hpp"

namespace fiberd::trace {

inline constexpr std::size_t kMostName = 128;        ///< bytes of a span's, an event's or an attribute's name
inline constexpr std::size_t kMostValue = 1024;      ///< bytes of an attribute's text
inline constexpr unsigned kMostAttributes = 32;      ///< of a span, and of an event
inline constexpr unsigned kMostEvents = 32;          ///< of a span
inline constexpr std::size_t kMostText = 16 * 1024;  ///< bytes of all attributes, and of all events, as they are sent

/// OTLP's numbers.
enum class SpanKind : std::uint8_t { internal = 1, server = 2, client = 3, producer = 4, consumer = 5 };
enum class SpanStatus : std::uint8_t { unset = 0, ok = 1, error = 2 };

/// What an attribute is: a text (a view only), a whole number, a number or a truth. Whole numbers that int64_t does not
/// hold all of are converted by who has them.
using Value = std::variant<std::string_view, std::int64_t, double, bool>;

struct Attribute {
  std::string_view key;
  Value value;
};

/// A list of attributes, or of events, being written. All calls throw std::bad_alloc.
class Attributes {
 public:
  /// Room for so many bytes at once.
  void reserve(std::size_t bytes) { text_.reserve(bytes); }
  void add(std::string_view key, const Value& value);
  /// The same with a key that stands for itself in JSON, such as a literal of the program's.
  void add_to_plain_key(std::string_view key, std::string_view value) {
    if (count_ >= kMostAttributes || !add_plain(key, value)) add(key, value);
  }
  void add_to_plain_key(std::string_view key, std::int64_t value);
  /// Of `at`, Unix ns.
  void add_event(std::string_view name, std::int64_t at, std::span<const Attribute> attributes);
  /// The list's items, with commas between them.
  [[nodiscard]] const std::string& text() const noexcept { return text_; }
  [[nodiscard]] unsigned dropped() const noexcept { return dropped_; }

 private:
  [[nodiscard]] bool add_plain(std::string_view key, std::string_view value);
  [[nodiscard]] bool may_add(std::size_t size, unsigned most) noexcept;
  std::string text_;
  unsigned count_ = 0;
  unsigned dropped_ = 0;
};

struct SpanFacts {
  SpanContext span;
  SpanId parent{};
  bool parent_is_remote = false;  ///< it is another process's
  SpanKind kind = SpanKind::internal;
  std::string_view name;
  std::int64_t begin = 0;  ///< Unix ns
  std::int64_t end = 0;
  SpanStatus status = SpanStatus::unset;
  std::string_view message{};  ///< of an error
  std::string_view tracestate{};
};

/// Appends one object of OTLP's `spans`. Throws std::bad_alloc.
void append_span(std::string& out, const SpanFacts& facts, const Attributes& attributes, const Attributes& events = {});
/// The same alone. Throws std::bad_alloc.
[[nodiscard]] std::string write_span(const SpanFacts& facts, const Attributes& attributes,
                                     const Attributes& events = {});
/// One object of OTLP's KeyValue. Throws std::bad_alloc.
void append_attribute(std::string& out, std::string_view key, const Value& value);

}  // namespace fiberd::trace
