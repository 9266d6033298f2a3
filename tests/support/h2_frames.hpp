#pragma once
// Frames of HTTP/2 as bytes, right ones and wrong ones, and field blocks in HPACK's plainest form: literals that are
// never indexed, so that a test says each byte that is sent. No code of the server's, and no library's.
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace fiberd::test::http2 {

enum Type : std::uint8_t {
  kData = 0,
  kHeaders = 1,
  kPriority = 2,
  kRstStream = 3,
  kSettings = 4,
  kPushPromise = 5,
  kPing = 6,
  kGoaway = 7,
  kWindowUpdate = 8,
  kContinuation = 9,
  kPriorityUpdate = 16
};
enum Flag : std::uint8_t { kNone = 0, kEndStream = 1, kAck = 1, kEndHeaders = 4, kPadded = 8, kWithPriority = 32 };
/// RFC 9113 section 7.
enum Error : std::uint32_t {
  kNoError = 0,
  kProtocolError = 1,
  kInternalError = 2,
  kFlowControlError = 3,
  kSettingsTimeout = 4,
  kStreamClosed = 5,
  kFrameSizeError = 6,
  kRefusedStream = 7,
  kCancel = 8,
  kCompressionError = 9,
  kConnectError = 10,
  kEnhanceYourCalm = 11
};

inline constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

inline std::string number(std::uint64_t value, unsigned bytes) {
  std::string text;
  for (unsigned i = bytes; i-- != 0;) text += static_cast<char>(value >> (8 * i));
  return text;
}
/// With a length of its own that may be a lie.
inline std::string frame_of_length(std::size_t length, unsigned type, unsigned flags, std::uint32_t stream,
                                   std::string_view payload) {
  return number(length, 3) + static_cast<char>(type) + static_cast<char>(flags) + number(stream, 4) +
         std::string(payload);
}
inline std::string frame(unsigned type, unsigned flags, std::uint32_t stream, std::string_view payload = {}) {
  return frame_of_length(payload.size(), type, flags, stream, payload);
}
inline std::string setting(unsigned id, std::uint32_t value) { return number(id, 2) + number(value, 4); }
inline std::string settings(std::string_view entries = {}) { return frame(kSettings, 0, 0, entries); }
inline std::string settings_ack() { return frame(kSettings, kAck, 0); }
inline std::string rst(std::uint32_t stream, std::uint32_t code) {
  return frame(kRstStream, 0, stream, number(code, 4));
}
inline std::string window_update(std::uint32_t stream, std::uint32_t by) {
  return frame(kWindowUpdate, 0, stream, number(by, 4));
}
inline std::string data(std::uint32_t stream, std::string_view bytes, bool end = true) {
  return frame(kData, end ? kEndStream : kNone, stream, bytes);
}

// ---- HPACK (RFC 7541)

/// An integer with a prefix of `bits` bits, under `first`.
inline std::string integer(unsigned bits, std::uint8_t first, std::uint64_t value) {
  const std::uint64_t most = (1U << bits) - 1U;
  std::string text;
  if (value < most) {
    text += static_cast<char>(first | value);
    return text;
  }
  text += static_cast<char>(first | most);
  for (value -= most; value >= 128; value >>= 7U) text += static_cast<char>(128U | (value & 127U));
  text += static_cast<char>(value);
  return text;
}
inline std::string literal(std::string_view text) { return integer(7, 0, text.size()) + std::string(text); }
using Fields = std::vector<std::pair<std::string, std::string>>;
inline std::string field(std::string_view name, std::string_view value) {
  return std::string(1, '\x10') + literal(name) + literal(value);
}
inline std::string block(const Fields& fields) {
  std::string text;
  for (const auto& [name, value] : fields) text += field(name, value);
  return text;
}

inline Fields get_fields(std::string_view path = "/", const Fields& more = {}) {
  Fields fields{{":method", "GET"}, {":scheme", "http"}, {":authority", "a.example"}, {":path", std::string(path)}};
  fields.insert(fields.end(), more.begin(), more.end());
  return fields;
}
inline Fields post_fields(std::string_view path = "/echo", const Fields& more = {}) {
  Fields fields = get_fields(path, more);
  fields[0].second = "POST";
  return fields;
}
inline std::string headers(std::uint32_t stream, const Fields& fields, bool end = true) {
  return frame(kHeaders, (end ? kEndStream : kNone) | kEndHeaders, stream, block(fields));
}
inline std::string get(std::uint32_t stream, std::string_view path = "/", const Fields& more = {}) {
  return headers(stream, get_fields(path, more));
}
inline std::string post(std::uint32_t stream, std::string_view body, const Fields& more = {}) {
  return headers(stream, post_fields("/echo", more), false) + data(stream, body);
}

}  // namespace fiberd::test::http2
