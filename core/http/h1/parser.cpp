#include "core/http/h1/parser.hpp"

#include <llhttp.h>

#include <algorithm>
#include <cstring>
#include <string_view>

static_assert(LLHTTP_STRICT_MODE == 1, "llhttp's lenient mode accepts what the guard's cross-check relies on");

namespace fiberd::http {
namespace {

struct SecondOpinion {
  std::uint16_t flags = 0;
  std::uint64_t content_length = 0;
  std::uint8_t major = 0;
  std::uint8_t minor = 0;
  bool complete = false;
};

int on_headers_complete(llhttp_t* parser) {
  auto* opinion = static_cast<SecondOpinion*>(parser->data);
  opinion->flags = parser->flags;
  opinion->content_length = parser->content_length;
  opinion->major = parser->http_major;
  opinion->minor = parser->http_minor;
  opinion->complete = true;
  return 1;  // no body: the message ends here for llhttp; BodyDecoder reads what follows
}

constexpr llhttp_settings_t make_settings() {
  llhttp_settings_t settings{};
  settings.on_headers_complete = on_headers_complete;
  return settings;
}
constexpr llhttp_settings_t kSettings = make_settings();

/// llhttp takes spaces behind the values of framing fields, but no tabs (RFC 9110 section 5.6.3: OWS is both). It gets
/// such a head without the blanks behind values.
llhttp_errno_t execute_trimmed(llhttp_t& parser, const char* begin, const char* end, HeaderView fields) noexcept {
  for (std::size_t i = 0; i < fields.size(); ++i) {
    const std::string_view value = fields[i].value;
    const char* const last = value.data() + value.size();
    if (const llhttp_errno_t error = llhttp_execute(&parser, begin, static_cast<std::size_t>(last - begin));
        error != HPE_OK)
      return error;
    begin = std::find(last, end, '\r');
  }
  return llhttp_execute(&parser, begin, static_cast<std::size_t>(end - begin));
}

bool llhttp_agrees(const char* message, std::size_t size, const HeadGuard::Head& head, HeaderView fields) noexcept {
  SecondOpinion opinion;
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &kSettings);
  parser.data = &opinion;
  const char* rest = message;
  llhttp_errno_t error = HPE_OK;
  if (head.method == Method::unknown) {
    // llhttp knows a fixed list, some of it from other protocols (SOURCE, PRI); any token is a method to us.
    error = llhttp_execute(&parser, "GET", 3);
    rest = message + head.method_begin + head.method_size;
  }
  const char* const end = message + size;
  if (error == HPE_OK) {
    error = head.blank_after_framing ? execute_trimmed(parser, rest, end, fields)
                                     : llhttp_execute(&parser, rest, static_cast<std::size_t>(end - rest));
  }
  // CONNECT and `Connection: upgrade` end paused for a tunnel. We open none: the guard's framing holds.
  if (error != HPE_OK && error != HPE_PAUSED_UPGRADE) return false;
  const bool chunked = (opinion.flags & F_CHUNKED) != 0;
  const bool length = (opinion.flags & F_CONTENT_LENGTH) != 0;
  return opinion.complete && chunked == head.chunked && length == head.has_content_length &&
         (!length || opinion.content_length == head.content_length) && opinion.major == 1 &&
         opinion.minor == (head.version == Version::http11 ? 1 : 0);
}

}  // namespace

Verdict RequestParser::parse(const char* message, std::size_t size) noexcept {
  if (verdict_ != Verdict::need_more) return verdict_;
  verdict_ = guard_.advance(message, size);
  const HeadGuard::Head& head = guard_.head();
  // Where a message without content ends is the blank line's word alone: docs/adr/0011-second-opinion-on-framing.md.
  const bool framed = head.chunked || head.has_content_length;
  if (verdict_ == Verdict::complete && framed && !llhttp_agrees(message, guard_.consumed(), head, headers(message))) {
    disagreed_ = true;
    verdict_ = Verdict::refused;
  }
  return verdict_;
}

WireRequest RequestParser::request(const char* message) const noexcept {
  const HeadGuard::Head& head = guard_.head();
  WireRequest r;
  r.method = head.method;
  r.version = head.version;
  r.form = head.form;
  r.framing = head.chunked ? Framing::chunked : head.has_content_length ? Framing::length : Framing::none;
  r.unknown_length = head.chunked;
  if (r.framing == Framing::length) r.content_length = head.content_length;
  r.keep_alive = !head.connection_close && (head.version == Version::http11 || head.connection_keep_alive);
  r.expect_continue = head.expect_continue && r.has_body();
  r.early_data = head.early_data;
  r.may_have_traceparent = head.has_traceparent;
  r.method_text = {message + head.method_begin, head.method_size};
  r.target = {message + head.target_begin, head.target_size};
  r.host = {message + head.authority_begin, head.authority_size};
  r.headers = headers(message);

  const std::string_view path_and_query = r.target.substr(head.path_begin - head.target_begin);
  const auto* mark = static_cast<const char*>(std::memchr(path_and_query.data(), '?', path_and_query.size()));
  if (mark == nullptr) {
    r.path = path_and_query;
  } else {
    const auto path_size = static_cast<std::size_t>(mark - path_and_query.data());
    r.path = path_and_query.substr(0, path_size);
    r.query = path_and_query.substr(path_size + 1);
  }
  if (r.path.empty() && head.form == TargetForm::absolute) r.path = "/";
  return r;
}

WireRequest RequestParser::partial_request(const char* message) const noexcept {
  const HeadGuard::Head& head = guard_.head();
  WireRequest r;
  r.method = head.method;
  r.version = head.version;
  r.method_text = {message + head.method_begin, head.method_size};
  r.target = {message + head.target_begin, head.target_size};
  r.headers = headers(message);
  return r;
}

}  // namespace fiberd::http
