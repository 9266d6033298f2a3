// What a client may send in frames, and what it may not, against a server that sends each message back (RFC 6455
// sections 5 to 7).
#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/flow/pressure.hpp"
#include "core/http/websocket/websocket.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/websocket_client.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

struct FrameCase {
  const char* name;
  std::string bytes;
  std::string answer;  // as WebSocketClient::conversation()
};

const std::string kBye = close_frame(1000);  // NOLINT(cert-err58-cpp)

std::vector<FrameCase> frame_cases() {
  const std::string long_text(70'000, 'x');
  const std::string middle(126, 'm');
  const auto f = [](unsigned first, std::string_view payload, bool masked = true, unsigned length = 0) {
    return frame(first, payload, masked, length);
  };
  return {
      // 5.2, 5.6: messages of each size and kind
      {"empty text", text_frame("") + kBye, "text: close:1000"},
      {"text", text_frame("hello") + kBye, "text:hello close:1000"},
      {"binary", f(kFin | kBinaryFrame, "\x01\xff\x02") + kBye, "binary:\x01\xff\x02 close:1000"},
      {"125 bytes", text_frame(std::string(125, 'a')) + kBye, "text:125B close:1000"},
      {"126 bytes", text_frame(middle) + kBye, "text:126B close:1000"},
      {"65,535 bytes", text_frame(std::string(65'535, 'a')) + kBye,
       "part+text:16384B part+more:16384B part+more:16384B more:16383B close:1000"},
      {"70,000 bytes", text_frame(long_text) + kBye,
       "part+text:16384B part+more:16384B part+more:16384B part+more:16384B more:4464B close:1000"},
      {"several in one read", text_frame("a") + text_frame("b") + text_frame("c") + kBye,
       "text:a text:b text:c close:1000"},
      // 5.4: fragments
      {"two fragments", f(kTextFrame, "hel") + f(kFin | kContinuation, "lo") + kBye, "text:hello close:1000"},
      {"empty fragments around one", f(kTextFrame, "") + f(kContinuation, "x") + f(kFin | kContinuation, "") + kBye,
       "text:x close:1000"},
      {"a ping between fragments",
       f(kTextFrame, "hel") + f(kFin | kPingFrame, "p") + f(kFin | kContinuation, "lo") + kBye,
       "pong:p text:hello close:1000"},
      {"a Close between fragments", f(kTextFrame, "hel") + kBye, "close:1000"},
      {"a second message between fragments", f(kTextFrame, "a") + text_frame("b"), "close:1002"},
      {"a continuation of nothing", f(kFin | kContinuation, "a"), "close:1002"},
      {"a continuation behind a message", text_frame("a") + f(kFin | kContinuation, "b"), "text:a close:1002"},
      // 5.5: control
      {"ping", f(kFin | kPingFrame, "") + kBye, "pong: close:1000"},
      {"ping of 125 bytes", f(kFin | kPingFrame, std::string(125, 'p')) + kBye, "pong:125B close:1000"},
      {"ping of 126 bytes", f(kFin | kPingFrame, middle), "close:1002"},
      {"pong that nobody asked for", f(kFin | kPongFrame, "x") + text_frame("a") + kBye, "text:a close:1000"},
      {"ping in fragments", f(kPingFrame, "a"), "close:1002"},
      {"Close in fragments", f(kCloseFrame, ""), "close:1002"},
      {"frames behind a Close", kBye + text_frame("late") + f(kFin | kPingFrame, "late"), "close:1000"},
      // 7: closing
      {"Close without a code", f(kFin | kCloseFrame, ""), "close:1000"},
      {"Close with a reason", close_frame(1001, "away"), "close:1001"},
      {"Close with one byte", f(kFin | kCloseFrame, "\x03"), "close:1002"},
      {"Close of 123 bytes of reason", close_frame(1000, std::string(123, 'r')), "close:1000"},
      {"Close of 124 bytes of reason", close_frame(1000, std::string(124, 'r')), "close:1002"},
      {"Close whose reason is no UTF-8", close_frame(1000, "\xff"), "close:1002"},
      {"Close 999", close_frame(999), "close:1002"},
      {"Close 1004", close_frame(1004), "close:1002"},
      {"Close 1005", close_frame(1005), "close:1002"},
      {"Close 1006", close_frame(1006), "close:1002"},
      {"Close 1015", close_frame(1015), "close:1002"},
      {"Close 2999", close_frame(2999), "close:1002"},
      {"Close 3000", close_frame(3000), "close:3000"},
      {"Close 4999", close_frame(4999), "close:4999"},
      {"Close 5000", close_frame(5000), "close:1002"},
      // 5.1, 5.2: what is never right
      {"not masked", f(kFin | kTextFrame, "hello", false), "close:1002"},
      {"a ping that is not masked", f(kFin | kPingFrame, "", false), "close:1002"},
      {"RSV1 without an extension", f(kFin | kRsv1 | kTextFrame, "a"), "close:1002"},
      {"RSV2", f(kFin | 0x20U | kTextFrame, "a"), "close:1002"},
      {"RSV3", f(kFin | 0x10U | kTextFrame, "a"), "close:1002"},
      {"RSV1 of a ping", f(kFin | kRsv1 | kPingFrame, "a"), "close:1002"},
      {"opcode 3", f(kFin | 3U, "a"), "close:1002"},
      {"opcode 7", f(kFin | 7U, "a"), "close:1002"},
      {"opcode 11", f(kFin | 11U, "a"), "close:1002"},
      {"opcode 15", f(kFin | 15U, "a"), "close:1002"},
      {"a length of two bytes that fits into one", f(kFin | kTextFrame, "hello", true, 2), "close:1002"},
      {"a length of eight bytes that fits into two", f(kFin | kTextFrame, middle, true, 8), "close:1002"},
      {"a length with its highest bit set", std::string("\x82\xff\x80\0\0\0\0\0\0\x01mask", 14), "close:1009"},
      // 5.6, 8.1: UTF-8
      {"text: two bytes of one character in two fragments",
       f(kTextFrame, "\xc3") + f(kFin | kContinuation, "\xa4") + kBye, "text:\xc3\xa4 close:1000"},
      {"text: a byte that never is UTF-8", text_frame("a\xff"), "close:1007"},
      {"text: overlong", text_frame("\xc0\xaf"), "close:1007"},
      {"text: a surrogate", text_frame("\xed\xa0\x80"), "close:1007"},
      {"text: above U+10FFFF", text_frame("\xf4\x90\x80\x80"), "close:1007"},
      {"text: ends inside a character", text_frame("\xe2\x82"), "close:1007"},
      {"text: ends inside a character, in an empty last fragment",
       f(kTextFrame, "\xe2\x82") + f(kFin | kContinuation, ""), "close:1007"},
      {"text: the same after three of four bytes", f(kTextFrame, "a\xf0\x9f\x98") + f(kFin | kContinuation, ""),
       "close:1007"},
      {"text: a character of four bytes, and an empty last fragment",
       f(kTextFrame, "\xf0\x9f\x98\x80") + f(kFin | kContinuation, "") + kBye, "text:\xf0\x9f\x98\x80 close:1000"},
      {"text: bad in the first fragment, which is enough", f(kTextFrame, "\xff"), "close:1007"},
      {"binary may be anything", f(kFin | kBinaryFrame, "\xff\xfe") + kBye, "binary:\xff\xfe close:1000"},
      {"binary that begins as a Close does", f(kFin | kBinaryFrame, "\x88\x02\x13\x88") + text_frame("on") + kBye,
       "binary:\x88\x02\x13\x88 text:on close:1000"},
      {"binary that begins as a Close with a code does",
       f(kFin | kBinaryFrame, "\x88\x02\x03\xe8 and more") + text_frame("on") + kBye,
       "binary:\x88\x02\x03\xe8 and more text:on close:1000"},
      // 10.4: too large
      {"a message of 128 KiB", f(kFin | kBinaryFrame, std::string(131'072, 'b')) + kBye,
       "part+binary:16384B part+more:16384B part+more:16384B part+more:16384B part+more:16384B part+more:16384B "
       "part+more:16384B more:16384B close:1000"},
      {"a message of one byte more, by its head", frame(kFin | kBinaryFrame, std::string(131'073, 'b')).substr(0, 20),
       "close:1009"},
      {"the same in fragments",
       f(kBinaryFrame, std::string(65'536, 'b')) + f(kFin | kContinuation, std::string(65'537, 'b')).substr(0, 20),
       "close:1009"},
      {"a message of 2^62 bytes", std::string("\x82\xff\x40\0\0\0\0\0\0\0mask", 14), "close:1009"},
  };
}

std::vector<http::Route> echo_site() {
  http::WebSocketOptions options;
  options.message_size = 131'072;
  options.close_timeout = std::chrono::hours(1);  // nobody waits for it where a Close is answered
  return {route("/", http::make_websocket_echo_handler(*http::WebSocketRules::make({}, {}), options))};
}

}  // namespace

TEST_CASE("websocket: frames by hand, whole and byte by byte", "[protocol][websocket]") {
  HttpServer server(echo_site());
  for (const FrameCase& row : frame_cases()) {
    for (const bool slowly : {false, true}) {
      if (slowly && row.bytes.size() > 2000) continue;
      INFO(row.name << (slowly ? ", byte by byte" : ""));
      WebSocketClient client(server.port());
      REQUIRE(client.open() != "");
      if (slowly)
        for (const char c : row.bytes) (void)client.send({&c, 1});
      else
        CHECK(client.send(row.bytes));
      CHECK(client.conversation() == row.answer);
    }
  }
}

TEST_CASE("websocket: a message that would take what memory there is not is given up", "[protocol][websocket]") {
  flow::Pressure pressure([](void*, std::size_t) noexcept { return false; }, nullptr);
  http::ServerOptions limits;
  limits.pressure = &pressure;
  std::atomic<int> error{0};
  const auto reads = [&](http::WebSocket& socket) -> Result<void> {
    http::WebSocketMessage message;
    Result<bool> more = true;
    while (more && *more) more = socket.read(message);
    error = error_of(more).default_error_condition().value();
    return {};
  };
  HttpServer server({route("/", http::make_websocket_handler(*http::WebSocketRules::make({}, {}), {}, reads))}, limits);
  WebSocketClient client(server.port());
  REQUIRE(client.open() != "");
  REQUIRE(client.send(text_frame(std::string(4000, 'a')) + text_frame(std::string(100'000, 'b'))));
  CHECK(client.conversation() == "close:1013");
  CHECK(eventually([&] { return error == static_cast<int>(std::errc::not_enough_memory); }));
}

TEST_CASE("websocket: messages behind the request's head, in one read with it", "[protocol][websocket]") {
  HttpServer server(echo_site());
  WebSocketClient client(server.port());
  REQUIRE(client.send(websocket_request("/") + text_frame("early") + kBye));
  while (client.rest().find("\r\n\r\n") == std::string::npos) REQUIRE(client.more());
  while (client.more()) {
  }
  CHECK(client.rest().ends_with(std::string("\x81\x05") + "early\x88\x02\x03\xe8"));
}
