// The guard against llhttp alone and Boost.Beast's parser. What the guard lets through both must read alike: the same
// framing. The other way round they may differ, since the guard refuses more: docs/conformance.md lists where and why.
//
// With FIBERD_FUZZ_LIST set in the environment each input that one of them accepts and the guard refuses is told with
// the guard's reason, for that list.
#include <llhttp.h>

#include <array>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http.hpp>
#include <cstdlib>
#include <string>

#include "core/http/h1/parser.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;
namespace beast_http = boost::beast::http;

namespace {

enum class Length : std::uint8_t { none, counted, chunked };
struct Reading {
  bool accepted = false;
  Length length = Length::none;
  std::uint64_t bytes = 0;
};

int on_headers(llhttp_t* parser) {
  auto& r = *static_cast<Reading*>(parser->data);
  r.accepted = true;
  if ((parser->flags & F_CHUNKED) != 0) {
    r.length = Length::chunked;
  } else if ((parser->flags & F_CONTENT_LENGTH) != 0) {
    r.length = Length::counted;
    r.bytes = parser->content_length;
  }
  return 1;
}

Reading by_llhttp(std::string_view message) {
  Reading r;
  llhttp_settings_t settings{};
  settings.on_headers_complete = on_headers;
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  parser.data = &r;
  (void)llhttp_execute(&parser, message.data(), message.size());  // on_headers has been called, or it has not
  return r;
}

Reading by_beast(std::string_view message) {
  beast_http::request_parser<beast_http::empty_body> parser;
  parser.header_limit(8192);
  parser.body_limit(boost::none);
  boost::system::error_code ec;
  (void)parser.put(boost::asio::buffer(message.data(), message.size()), ec);
  Reading r;
  r.accepted = parser.is_header_done();
  if (!r.accepted) return r;
  if (parser.chunked()) {
    r.length = Length::chunked;
  } else if (parser.content_length()) {
    r.length = Length::counted;
    r.bytes = *parser.content_length();
  }
  return r;
}

std::string readable(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    if (c >= ' ' && c <= '~') {
      text += c;
    } else if (c == '\r' || c == '\n' || c == '\t') {
      text += c == '\r' ? "\\r" : c == '\n' ? "\\n" : "\\t";
    } else {
      std::array<char, 5> hex{};
      (void)std::snprintf(hex.data(), hex.size(), "\\x%02x", static_cast<unsigned char>(c));
      text += hex.data();
    }
  }
  return text;
}

bool alike(const Reading& a, const Reading& b) {
  return a.accepted && a.length == b.length && (a.length != Length::counted || a.bytes == b.bytes);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view message = fuzz::text(data, size);
  if (size > 4096) return 0;
  http::RequestParser parser{http::HeadLimits()};
  const http::Verdict verdict = parser.parse(message.data(), message.size());
  static const bool list = std::getenv("FIBERD_FUZZ_LIST") != nullptr;
  if (verdict == http::Verdict::refused) {
    FUZZ_CHECK(parser.reason() != http::Reject::parser_disagrees);
    if (list && message.find("\r\n\r\n") != std::string_view::npos)
      (void)std::fprintf(stderr, "guard refuses %s: llhttp %s, Beast %s: %s\n", http::token_of(parser.reason()).data(),
                         by_llhttp(message).accepted ? "accepts" : "refuses",
                         by_beast(message).accepted ? "accepts" : "refuses", readable(message.substr(0, 160)).c_str());
    return 0;
  }
  if (verdict != http::Verdict::complete) return 0;
  const http::WireRequest r = parser.request(message.data());
  Reading ours{true, Length::none, 0};
  if (r.framing == http::Framing::chunked) ours.length = Length::chunked;
  if (r.framing == http::Framing::length) ours = {true, Length::counted, r.content_length.value_or(0)};
  const std::string_view head = message.substr(0, parser.consumed());
  // llhttp knows a list of methods; any token is one to us. And it takes no tab behind the value of a framing field,
  // where RFC 9110 section 5.6.3 has one (the parser gives it the value without).
  const bool tab_behind_value =
      head.find("\t\r\n") != std::string_view::npos || head.find("\t ") != std::string_view::npos;
  if (r.method != http::Method::unknown && !tab_behind_value) FUZZ_CHECK(alike(by_llhttp(head), ours));
  // Beast takes no empty line before the request, and refuses bytes above 127 in a target.
  const Reading beast = by_beast(head.starts_with("\r\n") ? head.substr(2) : head);
  FUZZ_CHECK(alike(beast, ours));
  return 0;
}
