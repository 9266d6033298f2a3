// The guard of answers: the same verdict however the bytes arrive, nothing beyond its limits, and what it lets through
// llhttp and Boost.Beast must read alike: the same status, the same framing.
#include <llhttp.h>

#include <boost/asio/buffer.hpp>
#include <boost/beast/http.hpp>
#include <string>

#include "core/base/random.hpp"
#include "core/http/client/errc.hpp"
#include "core/http/client/response_guard.hpp"
#include "tests/fuzz/check.hpp"

using namespace fiberd;
namespace beast_http = boost::beast::http;

namespace {

enum class Length : std::uint8_t { none, counted, chunked };
struct Reading {
  bool accepted = false;
  unsigned status = 0;
  Length length = Length::none;
  std::uint64_t bytes = 0;
  friend bool operator==(const Reading&, const Reading&) = default;
};

int on_headers(llhttp_t* parser) {
  auto& r = *static_cast<Reading*>(parser->data);
  r.accepted = true;
  r.status = parser->status_code;
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
  llhttp_init(&parser, HTTP_RESPONSE, &settings);
  parser.data = &r;
  (void)llhttp_execute(&parser, message.data(), message.size());
  return r;
}

Reading by_beast(std::string_view message) {
  beast_http::response_parser<beast_http::empty_body> parser;
  parser.header_limit(8192);
  parser.body_limit(boost::none);
  boost::system::error_code ec;
  (void)parser.put(boost::asio::buffer(message.data(), message.size()), ec);
  Reading r;
  r.accepted = parser.is_header_done();
  if (!r.accepted) return r;
  r.status = parser.get().result_int();
  if (parser.chunked()) {
    r.length = Length::chunked;
  } else if (parser.content_length()) {
    r.length = Length::counted;
    r.bytes = *parser.content_length();
  }
  return r;
}

struct Outcome {
  http::Verdict verdict = http::Verdict::need_more;
  std::error_code error;
  std::size_t consumed = 0;
  std::uint32_t fields = 0;
  unsigned status = 0;
  friend bool operator==(const Outcome&, const Outcome&) = default;
};

template <class NextSize>
Outcome read(http::ResponseGuard& guard, std::string_view message, NextSize next_size) {
  std::size_t size = 0;
  http::Verdict verdict = http::Verdict::need_more;
  while (verdict == http::Verdict::need_more && size < message.size()) {
    size = std::min(message.size(), size + next_size());
    const std::string moved(message.substr(0, size));
    verdict = guard.advance(moved.data(), moved.size());
    FUZZ_CHECK(guard.consumed() <= size);
  }
  const http::ResponseGuard::Head& head = guard.head();
  return {verdict, guard.error(), guard.consumed(), head.field_count, head.status};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::string_view message = fuzz::text(data, size);
  if (size > 4096) return 0;
  Random random(fuzz::take(message, 2));
  http::ResponseGuard guard;
  const Outcome whole = read(guard, message, [&] { return message.size(); });
  http::ResponseGuard again;
  FUZZ_CHECK(whole == read(again, message, [&] { return 1 + random.below(random.below(4) == 0 ? 64 : 3); }));
  if (whole.verdict == http::Verdict::refused) {
    FUZZ_CHECK(whole.error.category() == http::client_category());
    FUZZ_CHECK(http::is_malformed(whole.error) || whole.error == http::client_errc::head_too_large);
  }
  if (whole.verdict != http::Verdict::complete) return 0;
  FUZZ_CHECK(whole.status >= 100 && whole.status <= 599);
  const http::ResponseGuard::Head& head = guard.head();
  bool blank = false;  // behind a value that frames: llhttp takes none there (docs/conformance.md)
  for (std::uint32_t i = 0; i < head.field_count; ++i) {
    const http::FieldSpan& f = guard.fields()[i];
    FUZZ_CHECK(f.name_size != 0 && f.value_begin + f.value_size <= whole.consumed);
    const std::string_view name = message.substr(f.name_begin, f.name_size);
    FUZZ_CHECK(http::is_token(name));
    if (http::equals_lower(name, "content-length") || http::equals_lower(name, "transfer-encoding"))
      blank = blank || message[f.value_begin + f.value_size] != '\r';
    FUZZ_CHECK(http::is_field_value(message.substr(f.value_begin, f.value_size)));
  }
  Reading ours{true, whole.status};
  if (head.chunked) ours.length = Length::chunked;
  if (head.has_content_length) {
    ours.length = Length::counted;
    ours.bytes = head.content_length;
  }
  if (!blank) FUZZ_CHECK(ours == by_llhttp(message.substr(0, whole.consumed)));
  FUZZ_CHECK(ours == by_beast(message.substr(0, whole.consumed)));
  return 0;
}
