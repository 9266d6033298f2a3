#pragma once
// Whether a text is one JSON value (RFC 8259), with nothing behind it.
#include <cstddef>
#include <string_view>

namespace fiberd::test {

class Json {
 public:
  [[nodiscard]] static bool valid(std::string_view text) noexcept {
    Json json(text);
    return json.value(0) && json.at_ == text.size();
  }

 private:
  explicit Json(std::string_view text) noexcept : text_(text) {}
  [[nodiscard]] bool next(char c) noexcept {
    if (at_ == text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  template <class Is>
  bool some(Is is) noexcept {
    const std::size_t begin = at_;
    while (at_ != text_.size() && is(text_[at_])) ++at_;
    return at_ != begin;
  }
  [[nodiscard]] static bool digit(char c) noexcept { return c >= '0' && c <= '9'; }
  [[nodiscard]] static bool hex(char c) noexcept {
    return digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
  }
  [[nodiscard]] bool string() noexcept {
    if (!next('"')) return false;
    while (at_ != text_.size()) {
      const char c = text_[at_++];
      if (c == '"') return true;
      if (static_cast<unsigned char>(c) < 0x20) return false;
      if (c != '\\') continue;
      if (at_ == text_.size()) return false;
      const char escaped = text_[at_++];
      if (escaped == 'u') {
        for (int i = 0; i < 4; ++i)
          if (at_ == text_.size() || !hex(text_[at_++])) return false;
      } else if (std::string_view("\"\\/bfnrt").find(escaped) == std::string_view::npos) {
        return false;
      }
    }
    return false;
  }
  [[nodiscard]] bool number() noexcept {
    (void)next('-');
    if (!next('0') && !some(digit)) return false;
    if (next('.') && !some(digit)) return false;
    if (next('e') || next('E')) {
      if (!next('+')) (void)next('-');
      return some(digit);
    }
    return true;
  }
  /// Behind the opening bracket.
  template <class Part>
  bool list(char end, Part part) noexcept {
    if (next(end)) return true;
    do {
      if (!part()) return false;
    } while (next(','));
    return next(end);
  }
  [[nodiscard]] bool value(int depth) noexcept {
    if (depth > 100) return false;
    for (const std::string_view word : {"true", "false", "null"})
      if (text_.substr(at_, word.size()) == word) {
        at_ += word.size();
        return true;
      }
    if (next('{')) return list('}', [&] { return string() && next(':') && value(depth + 1); });
    if (next('[')) return list(']', [&] { return value(depth + 1); });
    return (at_ != text_.size() && text_[at_] == '"') ? string() : number();
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

}  // namespace fiberd::test
