#include "core/http/client/response_guard.hpp"

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "core/base/random.hpp"
#include "tests/support/answer_cases.hpp"

using namespace fiberd;
using namespace fiberd::http;

namespace {

/// Feeds what `next` gives of `text` until a verdict; skips interim answers as the client does.
template <class Next>
Verdict feed(ResponseGuard& guard, std::string_view text, Next next) {
  std::size_t size = 0;
  Verdict verdict = Verdict::need_more;
  while (verdict == Verdict::need_more && size < text.size()) {
    size = std::min(text.size(), size + next());
    const std::string copy(text.substr(0, size));  // the buffer moves each time
    verdict = guard.advance(copy.data(), copy.size());
  }
  return verdict;
}

}  // namespace

TEST_CASE("response guard: every head of the table, however it is split", "[http][client]") {
  for (const test::AnswerCase& row : test::head_cases()) {
    INFO(row.section << " " << row.name);
    ResponseGuard whole;
    Verdict verdict = feed(whole, row.bytes, [&] { return row.bytes.size(); });
    std::string rest = row.bytes;
    while (verdict == Verdict::complete && whole.head().status < 200) {
      rest.erase(0, whole.consumed());
      whole.reset();
      verdict = feed(whole, rest, [&] { return rest.size(); });
    }
    CHECK(verdict == (row.error ? Verdict::refused : Verdict::complete));
    CHECK(whole.error() == row.error);
    if (!row.error) CHECK(whole.head().status == row.status);

    // The first head alone: byte by byte, and at random.
    ResponseGuard first;
    verdict = feed(first, row.bytes, [&] { return row.bytes.size(); });
    Random random(7);
    for (int round = 0; round < (row.bytes.size() < 2'000 ? 20 : 1); ++round) {
      ResponseGuard split;
      const Verdict again = feed(split, row.bytes, [&]() -> std::size_t {
        return row.bytes.size() > 2'000 ? 1 + random.below(700) : round == 0 ? 1 : 1 + random.below(9);
      });
      CHECK(again == verdict);
      CHECK(split.error() == first.error());
      CHECK(split.consumed() == first.consumed());
      CHECK(split.head().status == first.head().status);
      CHECK(split.head().field_count == first.head().field_count);
    }
  }
}

TEST_CASE("response guard: what a head says", "[http][client]") {
  const std::string text =
      "HTTP/1.1 206 Partial Content\r\nContent-Length: 7\r\nX-One:  1 \r\nx-one: 2\r\nConnection: keep-alive, x\r\n\r\n"
      "body";
  ResponseGuard guard;
  REQUIRE(guard.advance(text.data(), text.size()) == Verdict::complete);
  CHECK(guard.consumed() == text.size() - 4);
  CHECK(guard.head().status == 206);
  CHECK(guard.head().version == Version::http11);
  CHECK(text.substr(ResponseGuard::kReasonBegin, guard.head().reason_size) == "Partial Content");
  CHECK(guard.head().has_content_length);
  CHECK(guard.head().content_length == 7);
  CHECK(guard.head().connection_keep_alive);
  CHECK_FALSE(guard.head().connection_close);
  const HeaderView fields(text.data(), guard.fields(), guard.head().field_count);
  CHECK(fields.size() == 4);
  CHECK(fields.find("X-ONE") == "1");
  // Complete is complete: what follows changes nothing.
  CHECK(guard.advance(text.data(), text.size()) == Verdict::complete);
  guard.reset();
  CHECK(guard.advance("X", 1) == Verdict::refused);
  CHECK(guard.advance("HTTP/1.1 200 OK\r\n\r\n", 19) == Verdict::refused);
  CHECK(guard.error() == client_errc::not_http);
}

TEST_CASE("response guard: the limits are limits of bytes and fields", "[http][client]") {
  const std::string text = "HTTP/1.1 200 OK\r\nA: b\r\nC: d\r\n\r\n";
  for (std::uint32_t size = 16; size <= text.size() + 1; ++size) {
    ResponseGuard guard({.header_size = size});
    INFO(size);
    CHECK(guard.advance(text.data(), text.size()) == (size < text.size() ? Verdict::refused : Verdict::complete));
    if (size < text.size()) CHECK(guard.error() == client_errc::head_too_large);
  }
  for (const std::uint32_t fields : {0U, 1U, 2U}) {
    ResponseGuard guard({.header_fields = fields});
    CHECK(guard.advance(text.data(), text.size()) == (fields < 2 ? Verdict::refused : Verdict::complete));
  }
}

TEST_CASE("client errors: each has words, a token and a condition", "[http][client]") {
  std::set<std::string> messages;
  std::size_t count = 0;
  for (int i = 1; i < static_cast<int>(client_errc::bad_framing); ++i) {
    const std::error_code error = static_cast<client_errc>(i);
    if (error.message() == "unknown") break;
    ++count;
    messages.insert(error.message());
    CHECK(token_of(static_cast<client_errc>(i)) != "unknown");
    CHECK(error.default_error_condition().category() == std::generic_category());
  }
  CHECK(count == 29);
  CHECK(messages.size() == count);
  CHECK(std::error_code(client_errc::head_timeout) == std::errc::timed_out);
  CHECK(std::error_code(client_errc::truncated_body) == std::errc::connection_aborted);
  CHECK(refused_answer(Reject::length_and_chunked).message() == "malformed answer: length and chunked");
  CHECK(rule_of(refused_answer(Reject::length_and_chunked)) == Reject::length_and_chunked);
  CHECK(rule_of(std::make_error_code(std::errc::io_error)) == Reject::none);
  CHECK(is_malformed(refused_answer(Reject::bad_chunk_size)));
  CHECK(is_malformed(client_errc::not_http));
  CHECK_FALSE(is_malformed(client_errc::head_too_large));
  CHECK_FALSE(is_malformed(std::make_error_code(std::errc::bad_message)));
}
