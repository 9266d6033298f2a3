#pragma once
/// HTTP/2 as bytes, as much of it as attacks and the probe need: frames laid out by hand, and those that come told
/// apart.

#include <cstdint>
#include <string>
#include <string_view>

namespace attack::h2 {

inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
inline constexpr std::size_t kHead = 9;
inline constexpr std::size_t kLargestFrame = 16'384;

enum Type : std::uint8_t {
  kData = 0,
  kHeaders = 1,
  kReset = 3,
  kSettings = 4,
  kPing = 6,
  kGoAway = 7,
  kWindowUpdate = 8,
  kContinuation = 9
};
inline constexpr std::uint8_t kEndStream = 1;  // and ACK, of SETTINGS and PING
inline constexpr std::uint8_t kEndHeaders = 4;

inline void put32(std::string& to, std::uint32_t v) {
  for (int shift = 24; shift >= 0; shift -= 8) to.push_back(static_cast<char>(v >> static_cast<unsigned>(shift)));
}

inline void put_frame(std::string& to, Type type, std::uint8_t flags, std::uint32_t stream, std::string_view payload) {
  to.push_back(static_cast<char>(payload.size() >> 16U));
  to.push_back(static_cast<char>(payload.size() >> 8U));
  to.push_back(static_cast<char>(payload.size()));
  to.push_back(static_cast<char>(type));
  to.push_back(static_cast<char>(flags));
  put32(to, stream);
  to += payload;
}

inline void put_window_update(std::string& to, std::uint32_t stream, std::uint32_t increment) {
  std::string payload;
  put32(payload, increment);
  put_frame(to, kWindowUpdate, 0, stream, payload);
}

inline void put_reset(std::string& to, std::uint32_t stream) {
  std::string payload;
  put32(payload, 8);  // CANCEL
  put_frame(to, kReset, 0, stream, payload);
}

/// SETTINGS with one entry of INITIAL_WINDOW_SIZE.
inline void put_window_settings(std::string& to, std::uint32_t window) {
  std::string payload("\0\4", 2);
  put32(payload, window);
  put_frame(to, kSettings, 0, 0, payload);
}

/// A length below 127 in HPACK's seven bits (RFC 7541 section 5.1).
inline void put_text(std::string& to, std::string_view text) {
  to.push_back(static_cast<char>(text.size()));
  to += text;
}

/// A request's field block without a dynamic table: :method, :path, :scheme http, :authority localhost.
inline std::string request(bool post, std::string_view path) {
  std::string block(1, post ? '\x83' : '\x82');
  if (path == "/") {
    block.push_back('\x84');
  } else {
    block.push_back('\x04');
    put_text(block, path);
  }
  block.push_back('\x86');
  block.push_back('\x01');
  put_text(block, "localhost");
  return block;
}

struct Frame {
  Type type;
  std::uint8_t flags;
  std::uint32_t stream;
  std::string_view payload;
};

/// Cuts what comes into frames; it keeps the part of one that has not come whole.
class Reader {
 public:
  template <class F>
  void feed(std::string_view bytes, F&& on_frame) {
    held_ += bytes;
    std::size_t at = 0;
    while (held_.size() - at >= kHead) {
      const auto byte = [&](std::size_t i) {
        return static_cast<std::uint32_t>(static_cast<unsigned char>(held_[at + i]));
      };
      const std::size_t size = byte(0) << 16U | byte(1) << 8U | byte(2);
      if (held_.size() - at - kHead < size) break;
      const Frame frame{static_cast<Type>(byte(3)), static_cast<std::uint8_t>(byte(4)),
                        (byte(5) << 24U | byte(6) << 16U | byte(7) << 8U | byte(8)) & 0x7fff'ffffU,
                        std::string_view(held_).substr(at + kHead, size)};
      at += kHead + size;
      on_frame(frame);
    }
    held_.erase(0, at);
  }
  void clear() { held_.clear(); }

 private:
  std::string held_;
};

}  // namespace attack::h2
