#include "core/http/response.hpp"

#include <catch2/catch.hpp>

using namespace fiberd;
using namespace fiberd::http;

namespace {
constexpr std::string_view kDate = "Sun, 06 Nov 1994 08:49:37 GMT";

std::string head_text(const WireHead& head) {
  std::array<char, 1024> room{};
  const auto written = write_head(room, head, kDate);
  if (!written) return "error: " + written.error().message();
  return {room.data(), written->size};
}
bool refused(const WireHead& head) { return head_text(head).starts_with("error"); }
}  // namespace

TEST_CASE("response: heads", "[http]") {
  CHECK(head_text({.content_length = 13, .server = "fiberd", .content_type = "text/plain"}) ==
        "HTTP/1.1 200 OK\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nServer: fiberd\r\nContent-Type: text/plain\r\n"
        "Content-Length: 13\r\n\r\n");
  CHECK(head_text({.status = 404, .keep_alive = false}) ==
        "HTTP/1.1 404 Not Found\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\nContent-Length: 0\r\nConnection: "
        "close\r\n\r\n");
  CHECK(head_text({.body = BodyKind::chunked}).ends_with("GMT\r\nTransfer-Encoding: chunked\r\n\r\n"));
  CHECK(
      head_text({.body = BodyKind::chunked, .version = Version::http10}).ends_with("GMT\r\nConnection: close\r\n\r\n"));
  CHECK(head_text({.version = Version::http10}).ends_with("Connection: keep-alive\r\n\r\n"));
  for (const unsigned status : {103U, 204U}) {
    CHECK(head_text({.status = status, .content_length = 5}).ends_with("GMT\r\n\r\n"));
    CHECK(head_text({.status = status, .body = BodyKind::chunked}).ends_with("GMT\r\n\r\n"));
  }
  CHECK(head_text({.status = 304, .content_length = 5}).ends_with("GMT\r\nContent-Length: 5\r\n\r\n"));
  CHECK(head_text({.status = 304, .send_content_length = false}).ends_with("GMT\r\n\r\n"));
}

TEST_CASE("response: nothing is ever split", "[http]") {
  using namespace std::string_view_literals;
  for (const std::string_view value : {"a\r\nX: y"sv, "a\nb"sv, "a\rb"sv, "a\0b"sv, "\x7f"sv}) {
    const Field field{"Location", value};
    CHECK(refused({.fields = {&field, 1}}));
    CHECK(refused({.server = value}));
    CHECK(refused({.content_type = value}));
  }
  for (const std::string_view name :
       {""sv, "a b"sv, "a:"sv, "a\r\n"sv, "Content-Length"sv, "transfer-encoding"sv, "DATE"sv, "Connection"sv}) {
    const Field field{name, "1"};
    CHECK(refused({.fields = {&field, 1}}));
  }
  CHECK(refused({.status = 99}));
  CHECK(refused({.status = 600}));
  const Field fine{"Location", "/new"};
  const std::string text = head_text({.status = 308, .fields = {&fine, 1}});
  CHECK(text.find("\r\nLocation: /new\r\n") != std::string::npos);
  std::array<char, 1024> room{};
  for (std::size_t n = 0; n < text.size(); ++n) {
    const auto r = write_head({room.data(), n}, {.status = 308, .fields = {&fine, 1}}, kDate);
    if (r || r.error() != std::errc::no_buffer_space) FAIL("wrote into " << n << " bytes");
  }
}

TEST_CASE("response: prepared equals written", "[http]") {
  const WireHead head{.server = "fiberd", .content_type = "text/plain"};
  const auto prepared = PreparedResponse::make(head, "Hello, World!");
  REQUIRE(prepared);
  for (const bool keep : {false, true}) {
    for (const Version version : {Version::http10, Version::http11}) {
      for (const bool with_body : {false, true}) {
        std::string text(prepared->size(version, keep, with_body), '\0');
        prepared->write(text.data(), version, keep, with_body, kDate);
        WireHead same = head;
        same.content_length = 13;
        same.version = version;
        same.keep_alive = keep;
        CHECK(text == head_text(same) + (with_body ? "Hello, World!" : ""));
      }
    }
  }
  const auto not_modified = PreparedResponse::make({.status = 304}, "");
  REQUIRE(not_modified);
  std::string text(not_modified->size(Version::http11, true, true), '\0');
  not_modified->write(text.data(), Version::http11, true, true, kDate);
  CHECK(text == head_text({.status = 304, .send_content_length = false}));
  const auto empty = PreparedResponse::make({.status = 204}, "ignored");
  REQUIRE(empty);
  CHECK(empty->body_size() == 0);
  CHECK_FALSE(PreparedResponse::make({.server = "a\r\nb"}, ""));
}

TEST_CASE("response: chunk heads", "[http]") {
  char out[kChunkHeadMax];
  CHECK(std::string_view(out, write_chunk_head(out, 1)) == "1\r\n");
  CHECK(std::string_view(out, write_chunk_head(out, 0x1a2b)) == "1a2b\r\n");
  CHECK(std::string_view(out, write_chunk_head(out, UINT64_MAX)) == "ffffffffffffffff\r\n");
}

TEST_CASE("response: a block of fields is checked as they are one by one, and written as they are", "[http]") {
  const std::array<Field, 2> fields{{{"ETag", "\"1\""}, {"Vary", "Accept"}}};
  const auto block = FieldBlock::make(fields);
  REQUIRE(block.has_value());
  CHECK(head_text({.block = &*block}) == head_text({.fields = fields}));
  const Field last{"X", "y"};
  CHECK(head_text({.fields = {&last, 1}, .block = &*block})
            .ends_with("ETag: \"1\"\r\nVary: Accept\r\nX: y\r\nContent-Length: 0\r\n\r\n"));
  for (const Field bad : {Field{"X", "a\r\nY: b"}, Field{"X\r\n", "a"}, Field{"Content-Length", "1"}, Field{"", "a"}})
    CHECK_FALSE(FieldBlock::make({&bad, 1}).has_value());
  std::array<char, 70> room{};
  CHECK(write_head(room, {.block = &*block}, kDate).error() == std::errc::no_buffer_space);
}

TEST_CASE("response: registered status codes have their phrase, others none of another's", "[http]") {
  for (const auto& [status, phrase] :
       std::initializer_list<std::pair<unsigned, std::string_view>>{{200, "OK"},
                                                                    {207, "Multi-Status"},
                                                                    {421, "Misdirected Request"},
                                                                    {425, "Too Early"},
                                                                    {508, "Loop Detected"}})
    CHECK(reason_phrase(status) == phrase);
  CHECK(reason_phrase(299) != reason_phrase(200));
}
