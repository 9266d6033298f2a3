#include "core/http/h1/body_decoder.hpp"

#include <algorithm>
#include <array>

#include "core/http/characters.hpp"

namespace fiberd::http {
namespace {

constexpr unsigned kMaxDigits = 16;

// RFC 9110 section 6.5.1: fields that frame, route, authenticate, or say how to read the content.
constexpr std::array<std::string_view, 20> kForbiddenTrailers{"content-length",
                                                              "transfer-encoding",
                                                              "host",
                                                              "trailer",
                                                              "connection",
                                                              "keep-alive",
                                                              "te",
                                                              "upgrade",
                                                              "expect",
                                                              "authorization",
                                                              "content-encoding",
                                                              "content-type",
                                                              "content-range",
                                                              "cache-control",
                                                              "max-forwards",
                                                              "range",
                                                              "cookie",
                                                              "set-cookie",
                                                              "proxy-connection",
                                                              "proxy-authorization"};

}  // namespace

bool is_forbidden_trailer(std::string_view name) noexcept {
  return std::any_of(kForbiddenTrailers.begin(), kForbiddenTrailers.end(),
                     [&](std::string_view forbidden) { return equals_ignore_case(name, forbidden); });
}

bool BodyDecoder::start(Framing framing, std::uint64_t content_length, const BodyLimits& limits) noexcept {
  limits_ = limits;
  remaining_ = framing == Framing::length ? content_length : 0;
  received_ = 0;
  extension_size_ = extensions_total_ = trailer_size_ = trailer_count_ = 0;
  digits_ = name_size_ = 0;
  after_name_ = false;
  reason_ = Reject::none;
  state_ = framing == Framing::chunked ? State::size : remaining_ > 0 ? State::fixed : State::done;
  if (remaining_ > limits_.body_size) {
    state_ = State::refused;
    reason_ = Reject::body_too_large;
    return false;
  }
  return true;
}

BodyDecoder::Step BodyDecoder::decode(const char* input, std::size_t size) noexcept {
  std::size_t i = 0;
  for (;;) {
    if (state_ == State::done) return {Status::done, i, {}};
    if (state_ == State::refused) return {Status::refused, i, {}};
    if (i == size) return {Status::need_more, i, {}};
    if (state_ == State::fixed || state_ == State::data) {
      const auto n = static_cast<std::size_t>(std::min<std::uint64_t>(remaining_, size - i));
      remaining_ -= n;
      received_ += n;
      if (remaining_ == 0) state_ = state_ == State::fixed ? State::done : State::data_cr;
      return {Status::data, i + n, {input + i, n}};
    }
    if (const Reject r = byte(input[i]); r != Reject::none) {
      state_ = State::refused;
      reason_ = r;
      return {Status::refused, i, {}};
    }
    ++i;
  }
}

Reject BodyDecoder::end_of_size() noexcept {
  if (digits_ == 0) return Reject::bad_chunk_size;
  // received_ never exceeds the limit, so the difference cannot wrap.
  return remaining_ > limits_.body_size - received_ ? Reject::body_too_large : Reject::none;
}

Reject BodyDecoder::byte(char c) noexcept {
  switch (state_) {
    case State::size: {
      if (const int digit = hex_value(c); digit >= 0) {
        if (digits_ == kMaxDigits) return Reject::bad_chunk_size;
        ++digits_;
        remaining_ = (remaining_ << 4U) | static_cast<std::uint64_t>(digit);
        return Reject::none;
      }
      if (const Reject r = end_of_size(); r != Reject::none) return r;
      if (c == '\r') {
        state_ = State::size_lf;
        return Reject::none;
      }
      if (c != ';' && c != ' ' && c != '\t') return Reject::bad_chunk_size;
      extension_size_ = 0;
      after_name_ = false;
      state_ = State::ext_space;
      return extension_byte(c);
    }
    case State::size_lf:
      if (c != '\n') return Reject::bad_chunk_size;
      digits_ = 0;
      state_ = remaining_ > 0 ? State::data : State::trailer_start;
      return Reject::none;
    case State::data_cr: state_ = State::data_lf; return c == '\r' ? Reject::none : Reject::bad_chunk_end;
    case State::data_lf: state_ = State::size; return c == '\n' ? Reject::none : Reject::bad_chunk_end;
    case State::trailer_start:
    case State::trailer_name:
    case State::trailer_value:
    case State::trailer_lf:
    case State::last_lf: return trailer_byte(c);
    default: return extension_byte(c);
  }
}

Reject BodyDecoder::extension_byte(char c) noexcept {
  // chunk-ext = *( BWS ";" BWS name [ BWS "=" BWS ( token / quoted-string ) ] )
  const bool blank = c == ' ' || c == '\t';
  if (c != '\r' || state_ == State::ext_quoted || state_ == State::ext_escaped) {
    if (++extension_size_ > limits_.extension_size || ++extensions_total_ > limits_.extensions_total) {
      return Reject::chunk_extension_too_long;
    }
  }
  switch (state_) {
    case State::ext_space:
    case State::ext_after_quoted:
      if (blank) {
        state_ = State::ext_space;
        return Reject::none;
      }
      if (c == ';') {
        state_ = State::ext_name_start;
        return Reject::none;
      }
      if (c == '=' && after_name_ && state_ == State::ext_space) {
        state_ = State::ext_value_start;
        return Reject::none;
      }
      if (c == '\r' && state_ == State::ext_after_quoted) {
        state_ = State::size_lf;
        return Reject::none;
      }
      return Reject::bad_chunk_extension;
    case State::ext_name_start:
    case State::ext_value_start:
      if (blank) return Reject::none;
      if (c == '"' && state_ == State::ext_value_start) {
        state_ = State::ext_quoted;
        after_name_ = false;
        return Reject::none;
      }
      if (!is_class(c, chars::kToken)) return Reject::bad_chunk_extension;
      after_name_ = state_ == State::ext_name_start;
      state_ = after_name_ ? State::ext_name : State::ext_value;
      return Reject::none;
    case State::ext_name:
    case State::ext_value:
      if (is_class(c, chars::kToken)) return Reject::none;
      if (c == '\r') {
        state_ = State::size_lf;
        return Reject::none;
      }
      if (blank) {
        state_ = State::ext_space;
        return Reject::none;
      }
      if (c == ';') {
        state_ = State::ext_name_start;
        return Reject::none;
      }
      if (c == '=' && state_ == State::ext_name) {
        state_ = State::ext_value_start;
        return Reject::none;
      }
      return Reject::bad_chunk_extension;
    case State::ext_quoted:
      if (c == '"') {
        state_ = State::ext_after_quoted;
      } else if (c == '\\') {
        state_ = State::ext_escaped;
      } else if (!is_class(c, chars::kQuoted)) {
        return Reject::bad_chunk_extension;
      }
      return Reject::none;
    case State::ext_escaped:
      if (!is_class(c, chars::kValue)) return Reject::bad_chunk_extension;
      state_ = State::ext_quoted;
      return Reject::none;
    default: return Reject::bad_chunk_extension;
  }
}

Reject BodyDecoder::trailer_byte(char c) noexcept {
  if (++trailer_size_ > limits_.trailer_size) return Reject::trailers_too_large;
  switch (state_) {
    case State::trailer_start:
      if (c == '\r') {
        state_ = State::last_lf;
        return Reject::none;
      }
      if (c == ' ' || c == '\t') return Reject::obs_fold;
      if (!is_class(c, chars::kToken)) return Reject::bad_trailer;
      if (++trailer_count_ > limits_.trailer_fields) return Reject::trailers_too_large;
      name_[0] = to_lower(c);
      name_size_ = 1;
      state_ = State::trailer_name;
      return Reject::none;
    case State::trailer_name: {
      if (is_class(c, chars::kToken)) {
        if (name_size_ < sizeof name_) name_[name_size_] = to_lower(c);
        if (name_size_ <= sizeof name_) ++name_size_;
        return Reject::none;
      }
      if (c != ':') return c == ' ' || c == '\t' ? Reject::space_before_colon : Reject::bad_trailer;
      if (name_size_ <= sizeof name_) {
        const std::string_view name(name_, name_size_);
        for (const std::string_view forbidden : kForbiddenTrailers) {
          if (name == forbidden) return Reject::forbidden_trailer;
        }
      }
      state_ = State::trailer_value;
      return Reject::none;
    }
    case State::trailer_value:
      if (c == '\r') {
        state_ = State::trailer_lf;
        return Reject::none;
      }
      return is_class(c, chars::kValue) ? Reject::none : Reject::bad_trailer;
    case State::trailer_lf: state_ = State::trailer_start; return c == '\n' ? Reject::none : Reject::bad_trailer;
    default:  // last_lf
      if (c != '\n') return Reject::bad_trailer;
      state_ = State::done;
      return Reject::none;
  }
}

}  // namespace fiberd::http
