#pragma once
// The request as handlers see it: views into the connection's buffer, valid until that buffer moves or is reused.
#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>

#include "core/http/characters.hpp"

namespace fiberd::http {

/// The methods this server knows (RFC 9110 section 9, RFC 5789). Every other token is `unknown` and answered 501.
enum class Method : std::uint8_t { unknown, get, head, post, put, delete_, connect, options, trace, patch };
inline constexpr std::size_t kMethods = 10;
/// What metrics call them, by Method: the set is closed, whatever clients send.
inline constexpr std::array<std::string_view, kMethods> kMethodLabels{"other",  "GET",     "HEAD",    "POST",  "PUT",
                                                                      "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"};

/// Methods are case-sensitive.
[[nodiscard]] Method method_from(std::string_view token) noexcept;
/// "GET"…; empty for `unknown`.
[[nodiscard]] std::string_view method_token(Method method) noexcept;

/// A set of methods, one bit each.
class MethodSet {
 public:
  constexpr MethodSet() noexcept = default;
  [[nodiscard]] static constexpr MethodSet of(Method m) noexcept { return MethodSet(bit(m)); }
  /// Everything a route may serve: all but CONNECT and TRACE.
  [[nodiscard]] static constexpr MethodSet all() noexcept {
    return of(Method::get) | of(Method::head) | of(Method::post) | of(Method::put) | of(Method::delete_) |
           of(Method::options) | of(Method::patch);
  }
  [[nodiscard]] constexpr bool has(Method m) const noexcept { return (bits_ & bit(m)) != 0; }
  [[nodiscard]] constexpr bool empty() const noexcept { return bits_ == 0; }
  [[nodiscard]] constexpr std::uint16_t bits() const noexcept { return bits_; }
  friend constexpr MethodSet operator|(MethodSet a, MethodSet b) noexcept {
    return MethodSet(static_cast<std::uint16_t>(a.bits_ | b.bits_));
  }
  friend constexpr bool operator==(MethodSet, MethodSet) noexcept = default;

 private:
  explicit constexpr MethodSet(std::uint16_t bits) noexcept : bits_(bits) {}
  static constexpr std::uint16_t bit(Method m) noexcept {
    return m == Method::unknown ? std::uint16_t{0} : static_cast<std::uint16_t>(1U << static_cast<unsigned>(m));
  }
  std::uint16_t bits_ = 0;
};

/// The reason phrase of IANA's HTTP status code registry (RFC 9110 section 16.2); "Unknown" for a code without one.
[[nodiscard]] std::string_view reason_phrase(unsigned status) noexcept;
/// False for 1xx, 204 and 304: such an answer ends with its head (RFC 9112 section 6.3).
[[nodiscard]] constexpr bool status_has_body(unsigned status) noexcept {
  return status >= 200 && status != 204 && status != 304;
}

enum class TargetForm : std::uint8_t { origin, absolute, authority, asterisk };
/// A field line as offsets from the first byte of its message, so that the buffer may move.
struct FieldSpan {
  std::uint32_t name_begin;
  std::uint32_t name_size;
  std::uint32_t value_begin;
  std::uint32_t value_size;
};

struct Field {
  std::string_view name;
  std::string_view value;
};

/// Walks a comma-separated list (RFC 9110 section 5.6.1): empty elements are skipped, whitespace is stripped. Quoted
/// strings are not understood: use it for lists of tokens.
class TokenList {
 public:
  explicit constexpr TokenList(std::string_view list) noexcept : rest_(list) {}
  /// False at the end.
  constexpr bool next(std::string_view& element) noexcept {
    while (!rest_.empty()) {
      const std::size_t comma = rest_.find(',');
      element = trim(rest_.substr(0, comma));
      rest_ = comma == std::string_view::npos ? std::string_view() : rest_.substr(comma + 1);
      if (!element.empty()) return true;
    }
    return false;
  }

 private:
  std::string_view rest_;
};

/// The fields of a head, in order of arrival. Cheap to copy; linear search, since heads are short.
class HeaderView {
 public:
  constexpr HeaderView() noexcept = default;
  constexpr HeaderView(const char* message, const FieldSpan* spans, std::size_t size) noexcept
      : message_(message), spans_(spans), size_(size) {}

  [[nodiscard]] constexpr std::size_t size() const noexcept { return size_; }
  [[nodiscard]] constexpr Field operator[](std::size_t i) const noexcept {
    const FieldSpan& s = spans_[i];
    return {{message_ + s.name_begin, s.name_size}, {message_ + s.value_begin, s.value_size}};
  }
  /// The first field of that name, compared without case, at or after index `from`; size() when there is none.
  [[nodiscard]] constexpr std::size_t index_of(std::string_view name, std::size_t from = 0) const noexcept {
    for (std::size_t i = from; i < size_; ++i) {
      if (spans_[i].name_size == name.size() && equals_ignore_case((*this)[i].name, name)) return i;
    }
    return size_;
  }
  [[nodiscard]] constexpr bool has(std::string_view name) const noexcept { return index_of(name) < size_; }
  /// The first value of that name; empty when absent (use has() to tell the two apart).
  [[nodiscard]] constexpr std::string_view find(std::string_view name) const noexcept {
    const std::size_t i = index_of(name);
    return i < size_ ? (*this)[i].value : std::string_view();
  }
  /// Whether `token` stands in the lists of all fields of that name; both compared without case.
  [[nodiscard]] constexpr bool has_token(std::string_view name, std::string_view token) const noexcept {
    for (std::size_t i = index_of(name); i < size_; i = index_of(name, i + 1)) {
      TokenList list((*this)[i].value);
      std::string_view element;
      while (list.next(element)) {
        if (equals_ignore_case(element, token)) return true;
      }
    }
    return false;
  }

 private:
  const char* message_ = nullptr;
  const FieldSpan* spans_ = nullptr;
  std::size_t size_ = 0;
};

/// What a request says, whatever protocol brought it.
struct Request {
  Method method = Method::unknown;
  TargetForm form = TargetForm::origin;
  bool expect_continue = false;  ///< the client waits for 100 before it sends the body (RFC 9110 section 10.1.1)
  bool unknown_length = false;   ///< there is content, and how much is known at its end
  /// It may have been sent before, by another whom somebody has recorded (RFC 8470): there is a field Early-Data, ours
  /// or of who has forwarded it.
  bool early_data = false;
  bool may_have_traceparent = true;               ///< false: whoever has read the fields has seen none of that name
  std::optional<std::uint64_t> content_length{};  ///< as the client said; nothing: none, or unknown_length
  std::string_view method_text;
  std::string_view target;  ///< as it was sent
  std::string_view path;    ///< undecoded; "/" for an absolute form without one, "*", or empty for CONNECT
  std::string_view query;   ///< without its '?'
  /// Of an extended CONNECT (RFC 8441) its ":protocol"; else empty. To routes and handlers such a request is a GET, as
  /// it would be in HTTP/1.1, that asks for this upgrade and has no body.
  std::string_view connect_protocol{};
  std::string_view host;  ///< with its port; the target's authority wins over Host (RFC 9112 section 3.2.2)
  HeaderView headers;

  [[nodiscard]] bool has_body() const noexcept { return unknown_length || content_length.value_or(0) > 0; }
};

}  // namespace fiberd::http
