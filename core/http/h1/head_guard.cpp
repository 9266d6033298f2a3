#include "core/http/h1/head_guard.hpp"

#include <algorithm>
#include <cstring>

#include "core/http/host.hpp"

namespace fiberd::http {

HeadGuard::HeadGuard(const HeadLimits& limits) noexcept : limits_(limits) {  // NOLINT: fields_ is set as it fills
  limits_.header_fields = std::min<std::uint32_t>(limits_.header_fields, kMaxHeaderFields);
}

void HeadGuard::reset(bool after_empty_line) noexcept {
  empty_line_ = after_empty_line;
  secured_ = false;
  pos_ = 0;
  mark_ = 0;
  state_ = State::start;
  reason_ = Reject::none;
  head_ = Head();
}

Verdict HeadGuard::refuse(Reject reason, std::size_t at) noexcept {
  state_ = State::refused;
  reason_ = reason;
  pos_ = at;
  return Verdict::refused;
}

Verdict HeadGuard::advance(const char* message, std::size_t size) noexcept {
  if (state_ == State::complete) return Verdict::complete;
  if (state_ == State::refused) return Verdict::refused;
  const char* p = message + pos_;
  State state = state_;  // of its own: the compiler follows it from case to case
  const char* const end = message + std::min<std::size_t>(size, limits_.header_size);
  const auto at = [message](const char* q) noexcept { return static_cast<std::uint32_t>(q - message); };

  while (p < end) {
    switch (state) {
      case State::start:
        if (*p == '\r' && !empty_line_) {
          ++p;
          empty_line_ = true;
          state = State::start_lf;
          break;
        }
        mark_ = at(p);
        state = State::method;
        [[fallthrough]];
      case State::method: {
        p = skip(p, end, chars::kToken);
        const std::uint32_t length = at(p) - mark_;
        if (length > kMaxMethodSize) return refuse(Reject::method_too_long, mark_ + kMaxMethodSize);
        if (p == end) break;
        if (length == 0) return refuse(Reject::bad_request_line, at(p));
        if (*p != ' ') return refuse(Reject::bad_method, at(p));
        head_.method_begin = mark_;
        head_.method_size = length;
        head_.method = method_from({message + mark_, length});
        ++p;
        mark_ = at(p);
        state = State::target;
        break;
      }
      case State::start_lf:
        if (*p != '\n') return refuse(Reject::bad_line_end, at(p));
        ++p;
        state = State::start;
        break;
      case State::target: {
        p = skip(p, end, chars::kTarget);
        if (p != end && *p == '\\' && std::memchr(message + mark_, '?', at(p) - mark_) != nullptr)
          while (p != end && *p == '\\') p = skip(p + 1, end, chars::kTarget);
        const std::uint32_t length = at(p) - mark_;
        if (length > limits_.target_size) return refuse(Reject::target_too_long, mark_ + limits_.target_size);
        if (p == end) break;
        if (*p == '\r' || *p == '\n') return refuse(Reject::http09, at(p));
        if (*p != ' ') return refuse(Reject::bad_target, at(p));
        if (length == 0) return refuse(Reject::bad_request_line, at(p));
        head_.target_begin = mark_;
        head_.target_size = length;
        ++p;
        mark_ = at(p);
        state = State::version;
        break;
      }
      case State::version: {
        if (at(p) == mark_ && end - p >= 9 && std::memcmp(p, "HTTP/1.1\r", 9) == 0) {
          p += 9;
          head_.version = Version::http11;
          state = State::request_line_lf;
          break;
        }
        const std::uint32_t i = at(p) - mark_;
        if (i < 5) {
          if (*p != "HTTP/"[i]) return refuse(Reject::bad_version, at(p));
        } else if (i == 5 || i == 7) {
          if (!is_class(*p, chars::kDigit)) return refuse(Reject::bad_version, at(p));
          (i == 5 ? major_ : minor_) = *p;
        } else if (i == 6) {
          if (*p != '.') return refuse(Reject::bad_version, at(p));
        } else {
          if (*p != '\r') return refuse(*p == '\n' ? Reject::bad_line_end : Reject::bad_version, at(p));
          // 0.9 never carried a version in its request line, so this is no client that a 505 could teach.
          if (major_ == '0' && minor_ == '9') return refuse(Reject::http09, at(p));
          if (major_ != '1' || (minor_ != '0' && minor_ != '1')) return refuse(Reject::unsupported_version, at(p));
          head_.version = minor_ == '1' ? Version::http11 : Version::http10;
          state = State::request_line_lf;
        }
        ++p;
        break;
      }
      case State::request_line_lf: {
        if (*p != '\n') return refuse(Reject::bad_line_end, at(p));
        if (const Reject r = check_target(message); r != Reject::none) return refuse(r, at(p));
        ++p;
        section_.reset();
        state = State::fields;
        break;
      }
      case State::fields: {
        const Reject r = section_.advance(message, p, end, fields_.data(), head_.field_count, limits_.header_fields,
                                          [&](const FieldSpan& field) noexcept { return check_field(message, field); });
        if (r != Reject::none) return refuse(r, at(p));
        if (!section_.done()) break;
        if (const Reject wrong = check_end(); wrong != Reject::none) return refuse(wrong, at(p) - 1);
        pos_ = at(p);
        state_ = State::complete;
        return Verdict::complete;
      }
      case State::complete:
      case State::refused: return Verdict::refused;  // not reached: both left above
    }
  }
  pos_ = at(p);
  state_ = state;
  if (pos_ >= limits_.header_size) {
    return refuse(state <= State::request_line_lf ? Reject::target_too_long : Reject::head_too_large, pos_);
  }
  return Verdict::need_more;
}

Reject HeadGuard::check_target(const char* message) noexcept {
  const std::string_view target(message + head_.target_begin, head_.target_size);
  head_.path_begin = head_.target_begin;
  if (head_.method == Method::connect) {
    if (!is_valid_connect_target(target)) return Reject::bad_target;
    head_.form = TargetForm::authority;
    head_.authority_begin = head_.target_begin;
    head_.authority_size = head_.target_size;
    head_.path_begin = head_.target_begin + head_.target_size;
    return Reject::none;
  }
  if (target.front() == '/') {
    head_.form = TargetForm::origin;
    return Reject::none;
  }
  if (target == "*") {
    head_.form = TargetForm::asterisk;
    return head_.method == Method::options ? Reject::none : Reject::bad_target;
  }
  std::size_t scheme = 0;
  if (target.size() > 7 && equals_lower(target.substr(0, 7), "http://")) scheme = 7;
  if (target.size() > 8 && equals_lower(target.substr(0, 8), "https://")) scheme = 8;
  if (scheme == 0) return Reject::bad_target;
  const std::size_t stop = std::min(target.find_first_of("/?", scheme), target.size());
  // Userinfo is an error in a URI from outside (RFC 9110 section 4.2.4); '@' is no host character, so it fails here.
  if (!is_valid_authority(target.substr(scheme, stop - scheme))) return Reject::bad_target;
  // Not over a connection that is not secured (RFC 9110 section 7.4).
  if (scheme == 8 && !secured_) return Reject::misdirected;
  head_.form = TargetForm::absolute;
  head_.authority_begin = head_.target_begin + static_cast<std::uint32_t>(scheme);
  head_.authority_size = static_cast<std::uint32_t>(stop - scheme);
  head_.path_begin = head_.target_begin + static_cast<std::uint32_t>(stop);
  return Reject::none;
}

bool HeadGuard::is_good_host(std::string_view authority) noexcept {
  if (authority.size() == known_host_size_ && known_host_size_ != 0 &&
      std::memcmp(authority.data(), known_host_.data(), known_host_size_) == 0)
    return true;
  if (!is_valid_authority(authority)) return false;
  if (authority.size() <= known_host_.size()) {
    std::memcpy(known_host_.data(), authority.data(), authority.size());
    known_host_size_ = static_cast<std::uint8_t>(authority.size());
  }
  return true;
}

Reject HeadGuard::check_field(const char* message, const FieldSpan& field) noexcept {
  const std::string_view name(message + field.name_begin, field.name_size);
  const std::string_view value(message + field.value_begin, field.value_size);
  switch (name.size()) {
    case 4:
      if (!equals_lower(name, "host")) break;
      if (head_.has_host) return Reject::duplicate_host;
      // A target of its own outranks it (RFC 9112 section 3.2.2), and empty is a valid value.
      if (!is_good_host(value) && !(value.empty() && head_.form == TargetForm::absolute)) return Reject::bad_host;
      head_.has_host = true;
      if (head_.form == TargetForm::origin || head_.form == TargetForm::asterisk) {
        head_.authority_begin = field.value_begin;
        head_.authority_size = field.value_size;
      }
      break;
    case 6:
      if (!equals_lower(name, "expect")) break;
      // 1.0 knew no expectations: a server must ignore this one (RFC 9110 section 10.1.1).
      if (head_.version == Version::http10) break;
      return check_expect(value);
    case 10:
      if (equals_lower(name, "connection")) return check_connection(head_, value);
      if (equals_lower(name, "early-data")) head_.early_data = true;
      break;
    case 11:
      if (equals_lower(name, "traceparent")) head_.has_traceparent = true;
      break;
    case 14:
      if (!equals_lower(name, "content-length")) break;
      head_.blank_after_framing |= message[field.value_begin + field.value_size] != '\r';
      return check_content_length(head_, value);
    case 17:
      if (!equals_lower(name, "transfer-encoding")) break;
      head_.blank_after_framing |= message[field.value_begin + field.value_size] != '\r';
      return check_transfer_encoding(head_, head_.version, value);
    default: break;
  }
  return Reject::none;
}

Reject HeadGuard::check_expect(std::string_view value) noexcept {
  TokenList list(value);
  std::string_view expectation;
  while (list.next(expectation)) {
    if (!equals_lower(expectation, "100-continue")) return Reject::bad_expectation;
    head_.expect_continue = true;
  }
  return Reject::none;
}

Reject HeadGuard::check_end() noexcept {
  return head_.version == Version::http11 && !head_.has_host ? Reject::missing_host : Reject::none;
}

}  // namespace fiberd::http
