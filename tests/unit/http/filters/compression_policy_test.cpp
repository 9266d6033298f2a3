#include "core/http/filters/compression_policy.hpp"

#include <array>
#include <catch2/catch.hpp>
#include <string>

using namespace fiberd::http;
using Verdict = CompressionVerdict;

namespace {
const CompressionPolicy& policy() {
  static const CompressionPolicy p(CompressionPolicy::usual_types(), 1024);
  return p;
}
Verdict of(const AnswerFacts& facts) { return policy().judge(facts); }
}  // namespace

TEST_CASE("which answers are compressed", "[http][compression]") {
  CHECK(of({.content_type = "text/html; charset=utf-8"}) == Verdict::compress);
  CHECK(of({.content_type = "TEXT/HTML"}) == Verdict::compress);
  CHECK(of({.content_type = " application/json ;x"}) == Verdict::compress);
  CHECK(of({.content_type = "text/event-stream"}) == Verdict::compress);
  CHECK(of({.content_type = "image/svg+xml", .content_length = 1024}) == Verdict::compress);
  CHECK(of({.status = 404, .content_type = "text/html"}) == Verdict::compress);
  CHECK(of({.content_type = "text/html", .cache_control = "public, max-age=5"}) == Verdict::compress);
}

TEST_CASE("which are not", "[http][compression]") {
  CHECK(of({.content_type = ""}) == Verdict::leave);
  CHECK(of({.content_type = "image/png"}) == Verdict::leave);
  CHECK(of({.content_type = "textual/html"}) == Verdict::leave);
  CHECK(of({.content_type = "text/"}) == Verdict::leave);
  CHECK(of({.content_type = "text/html", .content_length = 1023}) == Verdict::leave);
  CHECK(of({.content_type = "text/html", .content_length = 0}) == Verdict::leave);
  CHECK(CompressionPolicy({"text/*"}, 0).judge({.content_type = "text/html", .content_length = 0}) == Verdict::leave);
  CHECK(of({.status = 206, .content_type = "image/png", .has_range = true}) == Verdict::leave);
  CHECK(of({.status = 206, .content_type = "text/html", .encoded = true, .has_range = true}) == Verdict::leave);
  CHECK(of({.status = 416, .content_type = "text/html", .has_range = true}) == Verdict::leave);
  CHECK(of({.status = 204}) == Verdict::leave);
  CHECK(of({.status = 103, .content_type = "text/html"}) == Verdict::leave);
  CHECK(of({.content_type = "text/html", .encoded = true}) == Verdict::leave);
  CHECK(of({.content_type = "text/html", .has_digest = true}) == Verdict::leave);
  CHECK(of({.content_type = "text/html", .cache_control = "public,No-Transform"}) == Verdict::leave);
}

TEST_CASE("a part has the Vary of the whole", "[http][compression]") {
  CHECK(of({.status = 206, .content_type = "text/html", .has_range = true}) == Verdict::vary);
  CHECK(of({.status = 206, .content_type = "text/html", .has_range = true, .content_length = 9}) == Verdict::vary);
  CHECK(of({.status = 206, .content_type = "multipart/byteranges; boundary=x"}) == Verdict::vary);
}

TEST_CASE("a 304 says what its 200 would", "[http][compression]") {
  CHECK(of({.status = 304}) == Verdict::not_modified);
  CHECK(of({.status = 304, .content_type = "text/html"}) == Verdict::not_modified);
  CHECK(of({.status = 304, .content_type = "image/png"}) == Verdict::leave);
  CHECK(of({.status = 304, .encoded = true}) == Verdict::leave);
}

TEST_CASE("ETag and Vary of a compressed answer", "[http][compression]") {
  CHECK(weak_etag("\"abc\"") == "W/\"abc\"");
  CHECK_FALSE(weak_etag("W/\"abc\""));
  CHECK_FALSE(weak_etag(""));
}

TEST_CASE("Vary becomes one field that has what each line had", "[http][compression]") {
  const auto with = [](std::initializer_list<const char*> values, std::string_view name) {
    std::array<char, 256> room;
    FieldLines lines;
    lines.reset(room);
    REQUIRE(lines.add("Various", "x"));
    for (const char* value : values) REQUIRE(lines.add("vary", value));
    return vary_with(lines, name);
  };
  CHECK(with({}, "Accept-Encoding") == "Accept-Encoding");
  CHECK(with({""}, "Accept-Encoding") == "Accept-Encoding");
  CHECK(with({"Origin"}, "Accept-Encoding") == "Origin, Accept-Encoding");
  CHECK(with({"Cookie", "Accept-Language,Accept"}, "Origin") == "Cookie, Accept-Language, Accept, Origin");
  CHECK_FALSE(with({"origin, accept-encoding"}, "Accept-Encoding"));
  CHECK_FALSE(with({"Cookie", "origin"}, "Origin"));
  CHECK_FALSE(with({"*"}, "Accept-Encoding"));
}
