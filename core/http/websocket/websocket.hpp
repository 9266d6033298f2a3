#pragma once
// WebSocket: messages to and from a browser (RFC 6455), in code that reads as if it blocked.
//
//   http::make_websocket_handler(*rules, {}, [](http::WebSocket& socket) -> Result<void> {
//     http::WebSocketMessage message;
//     for (;;) {
//       const Result<bool> more = socket.read(message);
//       if (!more || !*more) return as_result(error_of(more));
//       if (const auto sent = socket.write(message.kind, message.data); !sent) return sent;
//     }
//   })
//
// One fiber reads, any number write, and they may be others than the one that reads. Frames of control are answered by
// whoever reads: a WebSocket that nobody reads neither answers pings nor notices that its client has gone. So a handler
// that only sends has a second fiber that reads, and ends by context().
//
// Contexts. context() is done when the WebSocket has ended, and when the server begins to stop (cause errc::draining);
// whoever waits for something else than the client waits under it, or under a child of it. A read() that its context
// ends between two messages has changed nothing; in the middle of one it ends the WebSocket. A write() that its context
// ends in the middle of a message ends it, too, since the rest will not come. When the server stops, reading ends as if
// the client had closed (false), the client is sent Close 1001, and what is written under context() still leaves.
//
// Bounds. A message is at most `message_size`, unpacked; the client must end it within `message_timeout`, and read what
// is sent to it within the listener's time-outs of answers (`timeouts.write`, `limits.write_rate`); what waits to be
// sent is 16 KiB and a frame at most; pings are answered as fast as the answers are read, no faster.
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/http/exchange.hpp"
#include "core/http/handler.hpp"
#include "core/http/websocket/handshake.hpp"

namespace fiberd::http {

struct WebSocketOptions {
  std::size_t message_size = std::size_t{1024} * 1024;  ///< larger: Close 1009
  /// Of silence, then the client is sent a ping; 0: never.
  std::chrono::nanoseconds ping_interval = std::chrono::seconds(30);
  /// Nothing has come, not even the answer to a ping: Close 1001, and the end; 0: never. Counted while somebody reads.
  std::chrono::nanoseconds idle_timeout = std::chrono::seconds(75);
  std::chrono::nanoseconds message_timeout = std::chrono::seconds(60);  ///< first byte → whole message: Close 1008
  std::chrono::nanoseconds close_timeout = std::chrono::seconds(5);     ///< our Close → the client's
  /// permessage-deflate (RFC 7692), where the client offers it, with windows of 4 KiB.
  bool compression = false;
};

struct WebSocketMessage {
  enum class Kind : std::uint8_t { text, binary };
  Kind kind = Kind::text;
  std::string data;  ///< of a text: UTF-8, checked
};

class WebSocket {
 public:
  using Kind = WebSocketMessage::Kind;
  /// RFC 6455 section 7.4.1.
  static constexpr std::uint16_t kNormal = 1000;
  static constexpr std::uint16_t kGoingAway = 1001;
  static constexpr std::uint16_t kProtocolError = 1002;
  static constexpr std::uint16_t kNoCode = 1005;    ///< the client's Close has named none
  static constexpr std::uint16_t kLost = 1006;      ///< there was no Close
  static constexpr std::uint16_t kBadData = 1007;   ///< a text that is no UTF-8; what cannot be unpacked
  static constexpr std::uint16_t kPolicy = 1008;    ///< a message that did not end in time
  static constexpr std::uint16_t kTooBig = 1009;    ///< a message larger than message_size
  static constexpr std::uint16_t kInternal = 1011;  ///< the handler threw, failed, or left a message unfinished
  static constexpr std::uint16_t kTryLater = 1013;  ///< memory runs short, and its message would take more

  /// The handshake. nullptr: the request was none, or not allowed, and has been answered (400, 403, 426, 503). Errors:
  /// the connection's. Throws std::bad_alloc. Must die before serve() returns.
  [[nodiscard]] static Result<std::unique_ptr<WebSocket>> accept(Exchange& exchange, const WebSocketRules& rules,
                                                                 const WebSocketOptions& options = {});
  /// Closes if nobody has: with 1000; 1001 when the server stops, 1011 when an exception is on its way, or a message
  /// was left unfinished. Waits up to close_timeout for the client's Close. Nobody may be inside.
  ~WebSocket();
  WebSocket(const WebSocket&) = delete;
  WebSocket& operator=(const WebSocket&) = delete;

  /// The next message. False: the WebSocket has ended in order; close_code() says how. Errors: the context's;
  /// bad_message (1002), message_size (1009), not_enough_memory (1013), illegal_byte_sequence (1007), timed_out (it was
  /// silent, or a message did not end), connection_aborted (it broke off), or the connection's. Throws std::bad_alloc.
  /// One fiber at a time.
  [[nodiscard]] Result<bool> read(const context::Context& ctx, WebSocketMessage& message);
  /// Under context().
  [[nodiscard]] Result<bool> read(WebSocketMessage& message) { return read(context_.context, message); }

  /// Sends one message, in frames of 16 KiB. Returns when all of it was given to the kernel, or to the fiber that sends
  /// just now. Errors: the context's, invalid_argument (a text that is no UTF-8), not_connected (it has ended, or is
  /// being closed), timed_out (the client does not read), or the connection's. Any fiber.
  [[nodiscard]] Result<void> write(const context::Context& ctx, Kind kind, std::string_view data);
  /// Under context().
  [[nodiscard]] Result<void> write(Kind kind, std::string_view data) { return write(context_.context, kind, data); }
  [[nodiscard]] Result<void> write_text(std::string_view data) { return write(Kind::text, data); }
  [[nodiscard]] Result<void> write_binary(std::string_view data) { return write(Kind::binary, data); }

  /// Sends a Close; nothing can be written then. The first one counts. The end is seen by who reads, or waited for when
  /// the WebSocket dies. Errors: invalid_argument (a code that may not be sent, a reason longer than 123 bytes or no
  /// UTF-8), or the connection's. Any fiber.
  Result<void> close(std::uint16_t code = kNormal, std::string_view reason = {});

  [[nodiscard]] const context::Context& context() const noexcept { return context_.context; }
  /// What was agreed on; empty: nothing.
  [[nodiscard]] std::string_view subprotocol() const noexcept { return subprotocol_; }
  [[nodiscard]] bool compressed() const noexcept { return compressed_; }
  /// The code it has ended with, whoever said it first; 0 while it goes on. And the client's reason, if it gave one.
  [[nodiscard]] std::uint16_t close_code() const noexcept;
  [[nodiscard]] std::string_view close_reason() const noexcept;

 private:
  class Session;
  WebSocket() = default;
  std::unique_ptr<Session> session_;
  context::Cancelable context_;
  std::string_view subprotocol_;
  bool compressed_ = false;
};

/// What a WebSocket handler may be made of: it is called with an http::WebSocket& and returns a Result<void>.
template <class F>
concept WebSocketFunction = std::is_invocable_r_v < Result<void>,
        std::decay_t<F>
&, WebSocket& > ;

/// A Handler out of a function Result<void>(WebSocket&), which is called on many fibers at once. What is no handshake
/// is answered. When the function returns the WebSocket is closed, with 1011 if it returned an error while it still was
/// open.
template <WebSocketFunction F>
std::shared_ptr<Handler> make_websocket_handler(WebSocketRules rules, const WebSocketOptions& options, F&& fn) {
  class Function final : public Handler {
   public:
    Function(WebSocketRules&& rules, const WebSocketOptions& options, F&& f)
        : rules_(std::move(rules)), options_(options), fn_(std::forward<F>(f)) {}
    Result<void> serve(Exchange& exchange) override {
      const Result<std::unique_ptr<WebSocket>> socket = WebSocket::accept(exchange, rules_, options_);
      if (!socket) return fail(socket.error());
      if (*socket == nullptr) return {};
      if (const Result<void> done = fn_(**socket); !done) (void)(*socket)->close(WebSocket::kInternal);
      return {};
    }

   private:
    const WebSocketRules rules_;
    const WebSocketOptions options_;
    std::decay_t<F> fn_;
  };
  return std::make_shared<Function>(std::move(rules), options, std::forward<F>(fn));
}

/// Sends each message back.
[[nodiscard]] std::shared_ptr<Handler> make_websocket_echo_handler(WebSocketRules rules,
                                                                   const WebSocketOptions& options);

}  // namespace fiberd::http
