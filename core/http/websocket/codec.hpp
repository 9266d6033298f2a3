#pragma once
// Codec: frames to messages and back: Boost.Beast's websocket::stream, of which nothing is seen outside of codec.cpp
// (its headers cost seconds of each source that includes them).
//
// Beast reads as if it blocked, from a "next layer" that is the codec's user: CodecPeer. Its two calls are all that it
// does to the outside, and one of them, take(), may park; what a second fiber writes meanwhile is well, for reading and
// writing share nothing but what is checked at each call. So the user holds one lock around every call here and lets go
// of it inside take().
//
// take() may throw, too: Beast has changed nothing by then that the next call would miss, as long as no message was
// begun (message_done()). In the middle of a compressed one what it had unpacked already would be lost.
//
// Of Beast's own timers, closing and auto-fragmentation nothing is used: time-outs, closing and the size of frames are
// WebSocket's.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <system_error>

#include "core/base/result.hpp"

namespace fiberd::http {

/// What a codec reads from and writes to.
class CodecPeer {
 public:
  /// At least one byte; 0 at the end. May park, and throw.
  virtual Result<std::size_t> take(std::span<std::byte> data) = 0;
  /// All of it. Throws std::bad_alloc.
  virtual void put(std::span<const std::byte> data) = 0;
  /// A whole Close, in a call of its own: what a message begins with may look like one.
  virtual void put_close(std::span<const std::byte> frame) { put(frame); }

 protected:
  ~CodecPeer() = default;
};

struct CodecOptions {
  std::size_t message_size = 0;
  bool compression = false;
};

/// What a client asked for, and what it is answered.
struct CodecOffer {
  std::string_view key;         ///< Sec-WebSocket-Key; empty: there is none (HTTP/2)
  std::string_view extensions;  ///< the values of Sec-WebSocket-Extensions, joined by commas
};
struct CodecAgreement {
  std::string accept;      ///< Sec-WebSocket-Accept
  std::string extensions;  ///< Sec-WebSocket-Extensions; empty: none
};

/// Of one side of one connection; the server's.
class Codec {
 public:
  enum class End : std::uint8_t {
    none,
    closed,     ///< the peer's Close has come, and was answered
    protocol,   ///< a frame that may not be; Close 1002 was put
    too_big,    ///< Close 1009 was put
    text,       ///< a text that is no UTF-8; Close 1007 was put
    packed,     ///< what was compressed cannot be unpacked; nothing was put
    connection  ///< take() failed, or has come to the end
  };

  /// Throws std::bad_alloc; std::system_error where descriptors are out, which the process's first one needs.
  Codec(CodecPeer& peer, const CodecOptions& options);
  ~Codec();
  Codec(const Codec&) = delete;
  Codec& operator=(const Codec&) = delete;

  /// Before all else. The offer is of a request that was found right.
  [[nodiscard]] Result<CodecAgreement> accept(const CodecOffer& offer);

  struct Read {
    std::size_t size = 0;
    End end = End::none;
    std::error_code error{};  ///< of End::connection; none: it has ended
  };
  /// The next bytes of a message, at most data.size() > 0; none where it has none (left). Answers pings.
  [[nodiscard]] Read read_some(std::span<char> data);
  /// The last read_some() has ended a message, or nothing was read yet.
  [[nodiscard]] bool message_done() const noexcept;
  [[nodiscard]] bool message_is_text() const noexcept;
  /// Of the peer's Close: 1005 if it named none.
  [[nodiscard]] std::uint16_t close_code() const noexcept;
  [[nodiscard]] std::string_view close_reason() const noexcept;

  /// Puts one frame, or several where it is compressed. False: the connection has ended.
  [[nodiscard]] bool write_some(bool text, bool fin, std::string_view data);

 private:
  struct Stream;
  std::unique_ptr<Stream> stream_;
};

}  // namespace fiberd::http
