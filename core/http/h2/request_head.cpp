#include "core/http/h2/request_head.hpp"

#include <algorithm>
#include <new>

#include "core/http/h1/body_decoder.hpp"
#include "core/http/host.hpp"

namespace fiberd::http::h2 {

static constexpr std::uint32_t kAroundField = 32;  // RFC 9113 section 6.5.2

static std::uint32_t size32(std::size_t size) noexcept { return static_cast<std::uint32_t>(size); }

void RequestHead::reset() noexcept {
  static constexpr std::size_t kKept = std::size_t{2} * 1024;
  text_.clear();
  if (text_.capacity() > kKept) text_.shrink_to_fit();
  fields_.clear();
  size_ = 0;
  count_ = cookies_ = 0;
  method_ = scheme_ = authority_ = path_ = protocol_ = host_ = Piece();
  framing_ = FramingFields();
  reason_ = Reject::none;
  two_hosts_ = expect_continue_ = has_traceparent_ = early_data_ = false;
}

RequestHead::Piece RequestHead::keep(std::string_view text) {
  const Piece piece{size32(text_.size()), size32(text.size()), true};
  text_ += text;
  return piece;
}

void RequestHead::add(std::string_view name, std::string_view value, const HeadLimits& limits) noexcept {
  try {
    add_or_throw(name, value, limits);
  } catch (const std::bad_alloc&) {
    reason_ = Reject::memory;
  }
}

void RequestHead::add_early_data() noexcept {
  HeadLimits limits;
  limits.header_size = limits.header_fields = limits.target_size = UINT32_MAX;
  if (!early_data_) add("early-data", "1", limits);
}

void RequestHead::add_or_throw(std::string_view name, std::string_view value, const HeadLimits& limits) {
  size_ += name.size() + value.size() + kAroundField;
  const bool pseudo = !name.empty() && name.front() == ':';
  if (!pseudo) ++count_;
  if (reason_ != Reject::none) return;
  if (name == ":path" && value.size() > limits.target_size) {
    reason_ = Reject::target_too_long;
    return;
  }
  if (size_ > limits.header_size) {
    reason_ = Reject::head_too_large;
    return;
  }
  if (count_ > limits.header_fields) {
    reason_ = Reject::too_many_fields;
    return;
  }
  if (pseudo) {
    Piece& piece = name == ":method"      ? method_
                   : name == ":scheme"    ? scheme_
                   : name == ":authority" ? authority_
                   : name == ":path"      ? path_
                                          : protocol_;
    piece = keep(value);
    return;
  }
  reason_ = check_field(name, value);
  if (name == "cookie") ++cookies_;
  const Piece n = keep(name);
  const Piece v = keep(value);
  if (name == "host") {
    two_hosts_ = host_.there;
    host_ = v;
  }
  fields_.push_back({n.begin, n.size, v.begin, v.size});
}

Reject RequestHead::check_field(std::string_view name, std::string_view value) noexcept {
  if (name == "content-length") return check_content_length(framing_, value);
  if (name == "traceparent") has_traceparent_ = true;
  if (name == "early-data") early_data_ = true;
  if (name != "expect") return Reject::none;
  TokenList list(value);
  std::string_view expectation;
  while (list.next(expectation)) {
    if (!equals_lower(expectation, "100-continue")) return Reject::bad_expectation;
    expect_continue_ = true;
  }
  return Reject::none;
}

/// One field again of what may have come as many (RFC 9113 section 8.2.3).
void RequestHead::join_cookies() {
  std::string joined;
  std::size_t first = fields_.size();
  std::size_t kept = 0;
  for (std::size_t i = 0; i < fields_.size(); ++i) {
    const FieldSpan& f = fields_[i];
    const std::string_view name = std::string_view(text_).substr(f.name_begin, f.name_size);
    if (name == "cookie") {
      if (first != fields_.size()) joined += "; ";
      joined.append(text_, f.value_begin, f.value_size);
      if (first != fields_.size()) continue;
      first = kept;
    }
    fields_[kept++] = f;
  }
  fields_.resize(kept);
  const Piece piece = keep(joined);
  fields_[first].value_begin = piece.begin;
  fields_[first].value_size = piece.size;
}

Reject RequestHead::check_target(Request& request, bool secured, const HeadLimits& limits) noexcept {
  const std::string_view authority = text_of(authority_.there ? authority_ : host_);
  request.host = authority;
  if (method_.size > kMaxMethodSize) return Reject::method_too_long;
  if (two_hosts_) return Reject::duplicate_host;
  if (request.method == Method::connect && !protocol_.there) {
    request.target = text_of(authority_);
    request.form = TargetForm::authority;
    return is_valid_connect_target(request.target) ? Reject::none : Reject::bad_target;
  }
  request.target = text_of(path_);
  if (request.target.size() > limits.target_size) return Reject::target_too_long;
  const std::size_t mark = std::min(request.target.find('?'), request.target.size());
  request.path = request.target.substr(0, mark);
  if (mark != request.target.size()) request.query = request.target.substr(mark + 1);
  const auto is_target = [](std::string_view text, bool query) {
    return std::all_of(text.begin(), text.end(),
                       [query](char c) { return is_class(c, chars::kTarget) || (query && c == '\\'); });
  };
  if (!is_target(request.path, false) || !is_target(request.query, true)) return Reject::bad_target;
  if (request.target == "*") {
    request.form = TargetForm::asterisk;
    if (request.method != Method::options) return Reject::bad_target;
  } else if (request.target.empty() || request.target.front() != '/') {
    return Reject::bad_target;
  }
  const std::string_view scheme = text_of(scheme_);
  const bool https = equals_lower(scheme, "https");
  if (!https && !equals_lower(scheme, "http")) return Reject::bad_target;
  if (!authority_.there && !host_.there) return Reject::missing_host;
  if (!is_valid_authority(authority)) return Reject::bad_host;
  if (authority_.there && host_.there && !equals_ignore_case(authority, text_of(host_))) return Reject::bad_host;
  // Not over a connection that is not secured (RFC 9110 section 7.4).
  return https && !secured ? Reject::misdirected : Reject::none;
}

Reject RequestHead::finish(Request& request, bool ended, bool secured, const HeadLimits& limits) noexcept {
  try {
    if (cookies_ > 1 && reason_ == Reject::none) join_cookies();
  } catch (const std::bad_alloc&) {
    reason_ = Reject::memory;
  }
  request = Request();
  request.method_text = text_of(method_);
  request.method = method_from(request.method_text);
  request.headers = {text_.data(), fields_.data(), fields_.size()};
  request.may_have_traceparent = has_traceparent_;
  request.early_data = early_data_;
  const Reject wrong = check_target(request, secured, limits);
  if (framing_.has_content_length) request.content_length = framing_.content_length;
  request.unknown_length = !ended && !framing_.has_content_length;
  if (protocol_.there) {
    // Routes know it as the GET that an upgrade is on HTTP/1.1; what follows is no content of a request.
    request.connect_protocol = text_of(protocol_);
    request.method = Method::get;
    request.unknown_length = false;
    request.content_length.reset();
  }
  request.expect_continue = expect_continue_ && request.has_body();
  return reason_ != Reject::none ? reason_ : wrong;
}

// ---------------------------------------------------------------------------------------------- trailers

void TrailerFields::reset() noexcept {
  text_.clear();
  fields_.clear();
  size_ = 0;
}

bool TrailerFields::add(std::string_view name, std::string_view value) noexcept {
  const BodyLimits limits;
  size_ += name.size() + value.size() + kAroundField;
  if (is_forbidden_trailer(name) || size_ > limits.trailer_size || fields_.size() >= limits.trailer_fields)
    return false;
  try {
    const std::uint32_t at = size32(text_.size());
    text_.append(name).append(value);
    fields_.push_back({at, size32(name.size()), at + size32(name.size()), size32(value.size())});
    return true;
  } catch (const std::bad_alloc&) {
    return false;
  }
}

}  // namespace fiberd::http::h2
