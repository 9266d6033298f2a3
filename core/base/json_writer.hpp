#pragma once
// JsonWriter: a document of JSON, piece by piece, commas by itself. Strings: json.hpp.
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "core/base/json.hpp"

namespace fiberd {

/// Not thread-safe. All calls throw std::bad_alloc. Who opens closes: nothing is checked.
class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  /// The name of what is written next.
  JsonWriter& key(std::string_view name) {
    part();
    append_json_string(out_, name);
    out_ += ':';
    first_ = true;
    return *this;
  }
  JsonWriter& value(std::string_view text) {
    part();
    append_json_string(out_, text);
    return *this;
  }
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(bool b) {
    part();
    out_ += b ? "true" : "false";
    return *this;
  }
  template <std::integral N>
  JsonWriter& value(N number) {
    return number_text(number);
  }
  /// The shortest text that is read as the same number; null for what JSON has no number for.
  JsonWriter& value(double number) {
    if (std::isfinite(number)) return number_text(number);
    part();
    out_ += "null";
    return *this;
  }
  template <class T>
  JsonWriter& field(std::string_view name, const T& of) {
    return key(name).value(of);
  }
  [[nodiscard]] std::size_t size() const noexcept { return out_.size(); }
  [[nodiscard]] std::string take() noexcept { return std::move(out_); }

 private:
  void part() {
    if (!std::exchange(first_, false)) out_ += ',';
  }
  JsonWriter& open(char bracket) {
    part();
    out_ += bracket;
    first_ = true;
    return *this;
  }
  JsonWriter& close(char bracket) {
    out_ += bracket;
    first_ = false;
    return *this;
  }
  template <class N>
  JsonWriter& number_text(N number) {
    part();
    char text[32];
    out_.append(text, std::to_chars(text, text + sizeof text, number).ptr);
    return *this;
  }

  std::string out_;
  bool first_ = true;
};

}  // namespace fiberd
