#pragma once
// A WebSocket's client that writes its frames by hand: it says what no client may say, and takes apart what comes.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "tests/support/http_fixture.hpp"

namespace fiberd::test {

struct WebSocketFrame {
  unsigned first = 0;  ///< FIN, RSV and the opcode
  std::string payload;
  [[nodiscard]] unsigned opcode() const noexcept { return first & 0x0fU; }
  /// Of a Close; 0: it has none.
  [[nodiscard]] unsigned code() const noexcept {
    if (payload.size() < 2) return 0;
    return static_cast<unsigned>(static_cast<unsigned char>(payload[0])) << 8U | static_cast<unsigned char>(payload[1]);
  }
};

inline constexpr unsigned kFin = 0x80;
inline constexpr unsigned kRsv1 = 0x40;
inline constexpr unsigned kContinuation = 0;
inline constexpr unsigned kTextFrame = 1;
inline constexpr unsigned kBinaryFrame = 2;
inline constexpr unsigned kCloseFrame = 8;
inline constexpr unsigned kPingFrame = 9;
inline constexpr unsigned kPongFrame = 10;

/// `length`: how it is told, 0 for the shortest way, 2 and 8 for that many bytes.
inline std::string frame(unsigned first, std::string_view payload, bool masked = true, unsigned length = 0) {
  static constexpr unsigned char kMask[4] = {0x37, 0xfa, 0x21, 0x3d};
  const std::size_t size = payload.size();
  if (length == 0) length = size < 126 ? 1 : size < 65536 ? 2 : 8;
  std::string out(1, static_cast<char>(first));
  const unsigned mask = masked ? 0x80 : 0;
  if (length == 1) {
    out += static_cast<char>(mask | size);
  } else {
    out += static_cast<char>(mask | (length == 2 ? 126U : 127U));
    for (unsigned i = length; i-- != 0;) out += static_cast<char>(std::uint64_t{size} >> (8 * i));
  }
  if (!masked) return out.append(payload);
  out.append(reinterpret_cast<const char*>(kMask), 4);
  for (std::size_t i = 0; i < size; ++i)
    out += static_cast<char>(static_cast<unsigned char>(payload[i]) ^ kMask[i % 4]);
  return out;
}
inline std::string text_frame(std::string_view text) { return frame(kFin | kTextFrame, text); }
inline std::string close_frame(unsigned code, std::string_view reason = {}) {
  std::string payload{static_cast<char>(code >> 8U), static_cast<char>(code)};
  return frame(kFin | kCloseFrame, payload.append(reason));
}

inline std::string websocket_request(std::string_view path, std::string_view more = {}) {
  return "GET " + std::string(path) +
         " HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
         "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
         std::string(more) + "\r\n";
}

class WebSocketClient : public HttpClient {
 public:
  using HttpClient::HttpClient;
  /// The head of the 101; empty: it was refused, or the connection has ended.
  std::string open(std::string_view path = "/", std::string_view more_fields = {}) {
    if (!send(websocket_request(path, more_fields))) return {};
    std::size_t end = 0;
    while ((end = buffer_.find("\r\n\r\n")) == std::string::npos)
      if (!more()) return {};
    std::string head = buffer_.substr(0, end + 4);
    buffer_.erase(0, end + 4);
    return head.starts_with("HTTP/1.1 101 ") ? head : std::string();
  }
  /// The next frame; nothing: the stream has ended.
  std::optional<WebSocketFrame> next() {
    const auto need = [this](std::size_t size) {
      while (buffer_.size() < size)
        if (!more()) return false;
      return true;
    };
    if (!need(2)) return std::nullopt;
    std::size_t size = static_cast<unsigned char>(buffer_[1]);
    std::size_t head = 2;
    if (size == 126 || size == 127) {
      const std::size_t bytes = size == 126 ? 2 : 8;
      if (!need(2 + bytes)) return std::nullopt;
      size = 0;
      for (std::size_t i = 0; i < bytes; ++i) size = size << 8U | static_cast<unsigned char>(buffer_[head++]);
    }
    if (!need(head + size)) return std::nullopt;
    WebSocketFrame f{static_cast<unsigned char>(buffer_[0]), buffer_.substr(head, size)};
    buffer_.erase(0, head + size);
    return f;
  }
  /// What comes until the end, in short: "text:hello ping:x close:1000", or "…" for what is longer than 40 bytes.
  std::string conversation() {
    std::string all;
    while (const auto f = next()) {
      static constexpr const char* kNames[] = {"more", "text", "binary"};
      if (!all.empty()) all += ' ';
      const unsigned opcode = f->opcode();
      if ((f->first & 0x70U) != 0) all += "rsv+";
      if ((f->first & kFin) == 0) all += "part+";
      all += opcode < 3 ? kNames[opcode] : opcode == 8 ? "close" : opcode == 9 ? "ping" : opcode == 10 ? "pong" : "?";
      all += ':';
      if (opcode == kCloseFrame)
        all += f->code() != 0 ? std::to_string(f->code()) : "";
      else
        all += f->payload.size() > 40 ? std::to_string(f->payload.size()) + "B" : f->payload;
    }
    return all;
  }
};

}  // namespace fiberd::test
