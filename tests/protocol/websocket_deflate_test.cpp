// permessage-deflate (RFC 7692): what is agreed on, messages both ways, and what is unpacked to more than it may be.
#include <zlib.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "core/http/websocket/websocket.hpp"
#include "tests/support/websocket_client.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

/// One side's compressor, as a client has it: raw DEFLATE, flushed behind each message, without its last four bytes.
class Deflater {
 public:
  explicit Deflater(int bits, int level = 6) {
    (void)::deflateInit2(&z_, level, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY);
  }
  ~Deflater() { (void)::deflateEnd(&z_); }
  Deflater(const Deflater&) = delete;
  Deflater& operator=(const Deflater&) = delete;
  std::string operator()(std::string_view text) {
    std::string out(::deflateBound(&z_, text.size()) + 16, '\0');
    z_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(text.data()));
    z_.avail_in = static_cast<uInt>(text.size());
    z_.next_out = reinterpret_cast<Bytef*>(out.data());
    z_.avail_out = static_cast<uInt>(out.size());
    (void)::deflate(&z_, Z_SYNC_FLUSH);
    out.resize(out.size() - z_.avail_out - 4);
    return out;
  }

 private:
  z_stream z_{};
};

class Inflater {
 public:
  explicit Inflater(int bits) { (void)::inflateInit2(&z_, -bits); }
  ~Inflater() { (void)::inflateEnd(&z_); }
  Inflater(const Inflater&) = delete;
  Inflater& operator=(const Inflater&) = delete;
  std::string operator()(std::string data, std::size_t most) {
    data.append("\0\0\xff\xff", 4);
    std::string out(most, '\0');
    z_.next_in = reinterpret_cast<Bytef*>(data.data());
    z_.avail_in = static_cast<uInt>(data.size());
    z_.next_out = reinterpret_cast<Bytef*>(out.data());
    z_.avail_out = static_cast<uInt>(out.size());
    (void)::inflate(&z_, Z_SYNC_FLUSH);
    out.resize(out.size() - z_.avail_out);
    return out;
  }

 private:
  z_stream z_{};
};

http::Route packed_echo() {
  http::WebSocketOptions options;
  options.compression = true;
  options.message_size = 100'000;
  options.close_timeout = std::chrono::hours(1);
  return route("/", http::make_websocket_echo_handler(*http::WebSocketRules::make({}, {}), options));
}

/// As browsers do.
constexpr const char* kOffer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n";

std::string agreed(std::uint16_t port, std::string_view offer) {
  WebSocketClient client(port);
  const std::string head = client.open("/", offer);
  REQUIRE(head != "");
  return Answer{101, head, {}}.field("Sec-WebSocket-Extensions");
}

}  // namespace

TEST_CASE("websocket: what of permessage-deflate is agreed on", "[protocol][websocket][deflate]") {
  HttpServer server({packed_echo()});
  const std::uint16_t port = server.port();
  CHECK(agreed(port, kOffer) == "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12");
  CHECK(agreed(port, "") == "");
  CHECK(agreed(port, "Sec-WebSocket-Extensions: x-unknown\r\n") == "");
  // Its window would be larger than we hold.
  CHECK(agreed(port, "Sec-WebSocket-Extensions: permessage-deflate\r\n") == "");
  CHECK(agreed(port, "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=99\r\n") == "");
  CHECK(agreed(port, "Sec-WebSocket-Extensions: permessage-deflate; nonsense\r\n") == "");
  CHECK(agreed(port,
               "Sec-WebSocket-Extensions: x-unknown\r\nSec-WebSocket-Extensions: permessage-deflate; "
               "client_max_window_bits; server_no_context_takeover\r\n")
            .starts_with("permessage-deflate; server_no_context_takeover"));
}

TEST_CASE("websocket: compressed messages both ways, in fragments, and mixed with plain ones",
          "[protocol][websocket][deflate]") {
  HttpServer server({packed_echo()});
  WebSocketClient client(server.port());
  REQUIRE(client.open("/", kOffer) != "");
  Deflater deflate(12);
  Inflater inflate(12);
  std::string text;
  for (int i = 0; text.size() < 50'000; ++i) text += "line " + std::to_string(i * i) + "\n";
  for (int round = 0; round < 3; ++round) {
    const std::string packed = deflate(text);
    REQUIRE(client.send(frame(kRsv1 | kTextFrame, packed.substr(0, 100)) + frame(kFin | kPingFrame, "p") +
                        frame(kFin | kContinuation, packed.substr(100))));
    CHECK(client.next().value_or(WebSocketFrame{}).opcode() == kPongFrame);
    std::string back;
    for (;;) {
      const WebSocketFrame f = client.next().value_or(WebSocketFrame{kFin, ""});
      CHECK(((f.first & kRsv1) != 0) == back.empty());  // of a message its first frame says so
      back += f.payload;
      if ((f.first & kFin) != 0) break;
    }
    CHECK(back.size() < text.size());
    CHECK((inflate(back, 60'000) == text));
    // A short one is not worth it, and a client may leave it as well.
    REQUIRE(client.send(text_frame("short")));
    const WebSocketFrame plain = client.next().value_or(WebSocketFrame{});
    CHECK(plain.first == (kFin | kTextFrame));
    CHECK(plain.payload == "short");
  }
  REQUIRE(client.send(close_frame(1000)));
  CHECK(client.conversation() == "close:1000");
}

TEST_CASE("websocket: a message goes out whole whose first pieces hardly take room and whose last is short",
          "[protocol][websocket][deflate]") {
  HttpServer server({packed_echo()});
  WebSocketClient client(server.port());
  REQUIRE(client.open("/", kOffer) != "");
  Deflater deflate(12);
  Inflater inflate(12);
  for (const std::size_t size : {16'384U, 16'385U, 16'447U, 16'448U, 32'769U, 50'000U, 65'537U}) {
    INFO(size);
    const std::string text(size, 'a');
    REQUIRE(client.send(frame(kFin | kRsv1 | kBinaryFrame, deflate(text))));
    std::string back;
    for (;;) {
      const WebSocketFrame f = client.next().value_or(WebSocketFrame{kFin, ""});
      CHECK((f.first & kRsv1) == (back.empty() ? kRsv1 : 0));
      back += f.payload;
      if ((f.first & kFin) != 0) break;
    }
    REQUIRE((inflate(back, 100'000) == text));
  }
  REQUIRE(client.send(close_frame(1000)));
  CHECK(client.conversation() == "close:1000");
}

// Beast unpacks into as much room as there is, and has its own ideas of a message that ends where the room does.
TEST_CASE("websocket: compressed messages of all sizes around those of a reader's room, one after the other",
          "[protocol][websocket][deflate]") {
  HttpServer server({packed_echo()});
  std::uint32_t random = 1;
  const auto draw = [&](std::uint32_t below) {
    random = random * 1'664'525U + 1'013'904'223U;
    return (random >> 8U) % below;
  };
  std::vector<std::string> words(50);
  for (std::string& word : words)
    for (std::uint32_t n = 2 + draw(28); n != 0; --n) word += static_cast<char>(draw(256));
  for (const int level : {1, 6}) {
    WebSocketClient client(server.port());
    REQUIRE(client.open("/", kOffer) != "");
    Deflater deflate(12, level);
    Inflater inflate(12);
    for (const std::size_t room : {256U, 512U, 1024U, 2048U, 4096U, 8192U, 16'384U}) {
      for (std::size_t size = room - 6; size <= room + 6; ++size) {
        INFO("level " << level << ", " << size);
        std::string data;
        while (data.size() < size) data += size % 2 == 0 ? "a" : words[draw(50)];
        data.resize(size);
        REQUIRE(client.send(frame(kFin | kRsv1 | kBinaryFrame, deflate(data))));
        std::string back;
        for (;;) {
          const WebSocketFrame f = client.next().value_or(WebSocketFrame{kFin, ""});
          REQUIRE(f.opcode() != kCloseFrame);
          back += f.payload;
          if ((f.first & kFin) != 0) break;
        }
        REQUIRE((inflate(back, 100'000) == data));
      }
    }
  }
}

TEST_CASE("websocket: a bomb is refused by what it unpacks to, and what cannot be unpacked too",
          "[protocol][websocket][deflate]") {
  HttpServer server({packed_echo()});
  struct Row {
    const char* name;
    std::string frames;
    const char* answer;
  };
  const std::string bomb = Deflater(12)(std::string(20U << 20U, '\0'));
  const std::string just = Deflater(12)(std::string(100'001, '\0'));
  const std::string bad_text = Deflater(12)("a\xff");
  const std::string cut_text = Deflater(12)("\xe2\x82");
  REQUIRE(bomb.size() < 100'000);
  const Row rows[] = {
      {"20 MiB of zeros", frame(kFin | kRsv1 | kBinaryFrame, bomb), "close:1009"},
      {"a byte more than may be", frame(kFin | kRsv1 | kBinaryFrame, just), "close:1009"},
      {"garbage", frame(kFin | kRsv1 | kBinaryFrame, "\xff\xff\xff\xff"), "close:1007"},
      {"no UTF-8", frame(kFin | kRsv1 | kTextFrame, bad_text), "close:1007"},
      {"ends inside a character", frame(kFin | kRsv1 | kTextFrame, cut_text), "close:1007"},
      {"RSV1 in a continuation", frame(kRsv1 | kTextFrame, "") + frame(kFin | kRsv1 | kContinuation, ""), "close:1002"},
      {"RSV1 of a ping", frame(kFin | kRsv1 | kPingFrame, ""), "close:1002"},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    WebSocketClient client(server.port());
    REQUIRE(client.open("/", kOffer) != "");
    (void)client.send(row.frames);
    CHECK(client.conversation() == row.answer);
  }
}
