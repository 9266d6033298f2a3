#include "core/http/h1/parser.hpp"

#include <llhttp.h>

#include <catch2/catch.hpp>
#include <set>
#include <string>

#include "core/http/h1/body_decoder.hpp"

using namespace fiberd::http;

TEST_CASE("parser: what a head says", "[http]") {
  const std::string text =
      "POST http://B.example:81/a/b?c=d?e HTTP/1.1\r\nHost: ignored\r\nX-One:  1 \r\nx-one: 2\r\nAccept: a, b ,,c\r\n"
      "Content-Length: 7\r\nExpect: 100-Continue\r\nConnection: Close\r\n\r\nbody";
  RequestParser parser;
  REQUIRE(parser.parse(text.data(), text.size()) == Verdict::complete);
  CHECK(parser.consumed() == text.size() - 4);
  const WireRequest r = parser.request(text.data());
  CHECK(r.method == Method::post);
  CHECK(r.method_text == "POST");
  CHECK(r.version == Version::http11);
  CHECK(r.form == TargetForm::absolute);
  CHECK(r.path == "/a/b");
  CHECK(r.query == "c=d?e");
  CHECK(r.host == "B.example:81");
  CHECK(r.framing == Framing::length);
  CHECK(r.content_length == 7);
  CHECK(r.expect_continue);
  CHECK_FALSE(r.keep_alive);
  CHECK(r.headers.size() == 7);
  CHECK(r.headers.find("x-ONE") == "1");
  CHECK(r.headers[r.headers.index_of("x-one", 2)].value == "2");
  CHECK(r.headers.has_token("accept", "C"));
  CHECK_FALSE(r.headers.has_token("accept", "d"));
  CHECK_FALSE(r.headers.has("nothing"));
  // The buffer may move: the same fields, seen from the copy.
  const std::string copy = text;
  CHECK(parser.headers(copy.data()).find("x-one").data() > copy.data());
}

TEST_CASE("parser: a Host is judged by its own bytes, whatever came before it", "[http]") {
  RequestParser parser;
  const auto verdict = [&](const std::string& host) {
    const std::string text = "GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
    parser.reset();
    const Verdict v = parser.parse(text.data(), text.size());
    return v == Verdict::refused ? parser.reason() : Reject::none;
  };
  const std::string longest(60, 'a');
  for (const std::string& good : {std::string("a.example:80"), longest, std::string("b")}) {
    for (int i = 0; i < 2; ++i) {
      INFO(good);
      CHECK(verdict(good) == Reject::none);
      CHECK(verdict(good.substr(0, good.size() - 1) + "/") == Reject::bad_host);  // as long
      CHECK(verdict(good + "@") == Reject::bad_host);
      CHECK(verdict("@" + good) == Reject::bad_host);
      CHECK(verdict("") == Reject::bad_host);
    }
  }
}

TEST_CASE("parser: CONNECT and unknown methods are only methods", "[http]") {
  for (const char* line : {"CONNECT a.example:443 HTTP/1.1", "BREW /pot HTTP/1.1", "SOURCE /x HTTP/1.1"}) {
    INFO(line);
    const std::string text = std::string(line) + "\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    RequestParser parser;
    REQUIRE(parser.parse(text.data(), text.size()) == Verdict::complete);
    CHECK(parser.request(text.data()).framing == Framing::chunked);
  }
}

TEST_CASE("parser: an early error needs no end of line", "[http]") {
  RequestParser parser;
  CHECK(parser.parse("\x16", 1) == Verdict::refused);
  CHECK(parser.reason() == Reject::bad_request_line);
  parser.reset();
  CHECK_FALSE(parser.started());
  CHECK(parser.parse("\r\n", 2) == Verdict::need_more);
  CHECK_FALSE(parser.started());
  CHECK(parser.parse("\r\nG", 3) == Verdict::need_more);
  CHECK(parser.started());
}

TEST_CASE("llhttp is built in strict mode", "[http]") {
  // Lenient llhttp takes a tab in a target; strict does not.
  llhttp_settings_t settings;
  llhttp_settings_init(&settings);
  llhttp_t parser;
  llhttp_init(&parser, HTTP_REQUEST, &settings);
  const std::string_view tab = "GET /\ta HTTP/1.1\r\n\r\n";
  CHECK(llhttp_execute(&parser, tab.data(), tab.size()) != HPE_OK);
}

TEST_CASE("reject: tokens are unique", "[http]") {
  std::set<std::string_view> tokens;
  for (std::size_t i = 0; i < static_cast<std::size_t>(Reject::count_); ++i) {
    tokens.insert(token_of(static_cast<Reject>(i)));
  }
  CHECK(tokens.size() == static_cast<std::size_t>(Reject::count_));
}

TEST_CASE("body: fixed length stops at its end", "[http]") {
  BodyDecoder body;
  REQUIRE(body.start(Framing::length, 3));
  const auto step = body.decode("abcdef", 6);
  CHECK(step.status == BodyDecoder::Status::data);
  CHECK(step.data == "abc");
  CHECK(body.decode("def", 3).status == BodyDecoder::Status::done);
  CHECK(body.decode("def", 3).consumed == 0);
  CHECK_FALSE(body.start(Framing::length, 11, {.body_size = 10}));
  CHECK(body.reason() == Reject::body_too_large);
  CHECK(body.start(Framing::length, 10, {.body_size = 10}));
  CHECK(body.start(Framing::none, 0));
  CHECK(body.done());
}
