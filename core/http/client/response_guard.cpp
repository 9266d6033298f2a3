#include "core/http/client/response_guard.hpp"

#include <algorithm>
#include <string_view>

#include "core/http/client/errc.hpp"

namespace fiberd::http {

ResponseGuard::ResponseGuard(const HeadLimits& limits) noexcept  // NOLINT: fields_ is set as it fills
    : limits_(limits) {
  limits_.header_fields = std::min<std::uint32_t>(limits_.header_fields, kMaxHeaderFields);
}

void ResponseGuard::reset() noexcept {
  pos_ = 0;
  state_ = State::status_line;
  error_ = {};
  head_ = Head();
}

Verdict ResponseGuard::refuse(std::error_code error, std::size_t at) noexcept {
  state_ = State::refused;
  error_ = error;
  pos_ = at;
  return Verdict::refused;
}

/// The `i`-th of the bytes that have their places: "HTTP/1.1 200 ".
std::error_code ResponseGuard::status_line_byte(char c, std::size_t i) noexcept {
  static constexpr std::string_view kBegin = "HTTP/";
  if (i < kBegin.size()) return c == kBegin[i] ? std::error_code() : client_errc::not_http;
  const bool digit = is_class(c, chars::kDigit);
  switch (i) {
    case 5:
      if (!digit) return refused_answer(Reject::bad_version);
      return c == '1' ? std::error_code() : refused_answer(Reject::unsupported_version);
    case 6: return c == '.' ? std::error_code() : refused_answer(Reject::bad_version);
    case 7:
      if (!digit) return refused_answer(Reject::bad_version);
      if (c != '0' && c != '1') return refused_answer(Reject::unsupported_version);
      head_.version = c == '1' ? Version::http11 : Version::http10;
      return {};
    case 8:
    case 12: return c == ' ' ? std::error_code() : client_errc::bad_status_line;
    default:
      if (!digit) return client_errc::bad_status_line;
      head_.status = static_cast<std::uint16_t>(head_.status * 10 + (c - '0'));
      return i == 11 && (head_.status < 100 || head_.status > 599) ? client_errc::bad_status : std::error_code();
  }
}

Verdict ResponseGuard::advance(const char* message, std::size_t size) noexcept {
  if (state_ == State::complete) return Verdict::complete;
  if (state_ == State::refused) return Verdict::refused;
  const char* p = message + pos_;
  const char* const end = message + std::min<std::size_t>(size, limits_.header_size);
  const auto at = [message](const char* q) noexcept { return static_cast<std::size_t>(q - message); };

  while (p < end) {
    switch (state_) {
      case State::status_line:
        if (const std::error_code wrong = status_line_byte(*p, at(p))) return refuse(wrong, at(p));
        ++p;
        if (at(p) == kReasonBegin) state_ = State::reason;
        break;
      case State::reason:
        p = skip_value(p, end);
        if (p == end) break;
        if (*p != '\r')
          return refuse(refused_answer(*p == '\n' ? Reject::bad_line_end : Reject::bad_field_value), at(p));
        head_.reason_size = static_cast<std::uint32_t>(at(p)) - kReasonBegin;
        ++p;
        state_ = State::status_line_lf;
        break;
      case State::status_line_lf:
        if (*p != '\n') return refuse(refused_answer(Reject::bad_line_end), at(p));
        ++p;
        section_.reset();
        state_ = State::fields;
        break;
      case State::fields: {
        const Reject r = section_.advance(message, p, end, fields_.data(), head_.field_count, limits_.header_fields,
                                          [&](const FieldSpan& field) noexcept { return check_field(message, field); });
        if (r != Reject::none) return refuse(refused_answer(r), at(p));
        if (!section_.done()) break;
        if (const std::error_code wrong = check_end()) return refuse(wrong, at(p) - 1);
        pos_ = at(p);
        state_ = State::complete;
        return Verdict::complete;
      }
      case State::complete:
      case State::refused: return Verdict::refused;  // not reached: both left above
    }
  }
  pos_ = at(p);
  if (pos_ >= limits_.header_size) return refuse(client_errc::head_too_large, pos_);
  return Verdict::need_more;
}

Reject ResponseGuard::check_field(const char* message, const FieldSpan& field) noexcept {
  const std::string_view name(message + field.name_begin, field.name_size);
  const std::string_view value(message + field.value_begin, field.value_size);
  switch (name.size()) {
    case 10: return equals_lower(name, "connection") ? check_connection(head_, value) : Reject::none;
    case 14: return equals_lower(name, "content-length") ? check_content_length(head_, value) : Reject::none;
    case 17:
      return equals_lower(name, "transfer-encoding") ? check_transfer_encoding(head_, head_.version, value)
                                                     : Reject::none;
    default: return Reject::none;
  }
}

std::error_code ResponseGuard::check_end() const noexcept {
  if (head_.status == 101) return client_errc::unasked_upgrade;
  const bool length = head_.has_content_length && (head_.status < 200 || head_.content_length != 0);
  if ((head_.status < 200 || head_.status == 204) && (head_.chunked || length)) return client_errc::unexpected_content;
  return {};
}

}  // namespace fiberd::http
