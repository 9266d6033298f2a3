#pragma once
// Exchange: one request and its answer, as a handler sees them. Code that reads as if it blocked; every wait obeys the
// connection's time-outs and ends when the connection is closed or the server stops hard.
//
// An answer that is begun waits in the output buffer until the buffer is full, the answer ends, or flush() is called:
// only then is its head committed. Until then the answer can still become another (an exception is a clean 500, a body
// whose framing breaks a 400), a body that ends before gets a Content-Length, and whether the connection goes on is
// decided by what is known then, so that a server that began to stop meanwhile says so.
#include <cstdint>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/http/body_decoder.hpp"
#include "core/http/message.hpp"
#include "core/http/rate_guard.hpp"
#include "core/http/reject.hpp"
#include "core/http/response.hpp"

namespace fiberd::http {

class Connection;

/// What becomes of the part of a request's body that was not read when the answer begins.
enum class RestOfBody : std::uint8_t { may_be_read, unread };

/// Not thread-safe: used by the fiber that serves the request, during Handler::serve only.
class Exchange {
 public:
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  /// Views hold until serve() returns.
  [[nodiscard]] const Request& request() const noexcept { return request_; }
  /// The request's path in normal form (path.hpp): percent-decoded once, without dot segments and empty ones. The
  /// router matched this one: whoever opens or decides something by the path uses it, never request().path, which is as
  /// sent.
  [[nodiscard]] std::string_view path() const noexcept { return path_; }
  /// For a prefix route: the part of path() below it, without a leading slash.
  [[nodiscard]] std::string_view rest() const noexcept { return path_.substr(rest_); }
  /// What a handler with a root of its own looks for there: rest(), or, for a route without "/*", the whole path
  /// without its leading slash.
  [[nodiscard]] std::string_view below_root() const noexcept { return path_.substr(exact_route_ ? 1 : rest_); }
  /// By when the head of the answer must be committed (`timeouts.request`).
  [[nodiscard]] Deadline deadline() const noexcept { return deadline_; }

  // ---- contexts, made when they are first asked for: a handler that waits for nothing pays nothing

  /// The request's: done at deadline(), when the client goes away (cause() says connection_reset, or
  /// connection_aborted when it ended its side: client_context.hpp), when a stopping server's patience ends, and when
  /// serve() has returned. Pass it to all that the request waits for. Throws std::bad_alloc.
  [[nodiscard]] const context::Context& context();
  /// The connection's: the same without the deadline and beyond this request, until the connection ends. For answers
  /// that are streamed for longer than deadline(). Throws std::bad_alloc.
  [[nodiscard]] const context::Context& client_context();

  // ---- request body

  /// The next piece of the body, zero-copy; empty at its end. Sends 100 Continue first if the client waits for it. The
  /// view holds until the next call. Waits at most `timeouts.body` for progress, as long as `limits.body_rate` allows,
  /// and not beyond deadline() while no answer is committed. After an error the answer, if none was committed, is the
  /// server's: 400, 408, 413 by cause.
  [[nodiscard]] Result<std::string_view> read_body();

  // ---- answer: respond, or begin … write … flush … end

  /// All at once. To HEAD the same call: the body is left out by itself. Errors: invalid_argument (a field that would
  /// split the message), or the connection's.
  [[nodiscard]] Result<void> respond(unsigned status, std::string_view content_type, std::string_view body,
                                     std::span<const Field> fields = {});
  [[nodiscard]] Result<void> respond(const PreparedResponse& prepared);
  /// An error: the listener's page for `status` if it has one, else a body in the form that Accept likes best: plain
  /// text, application/problem+json (RFC 9457) or HTML.
  [[nodiscard]] Result<void> respond_error(unsigned status, std::span<const Field> fields = {});
  /// In pieces. Say so if the handler will read no more of the request's body: then the answer can tell whether the
  /// connection ends for that. `head.version`, `head.keep_alive` and `head.server` are set by the server; what `head`
  /// points to is not needed after the call. With BodyKind::length exactly content_length bytes must follow.
  /// BodyKind::chunked becomes a length when all of the body fits into the output buffer (16 KiB with its head) and
  /// nobody called flush().
  [[nodiscard]] Result<void> begin(ResponseHead head, RestOfBody rest = RestOfBody::may_be_read);
  /// Small pieces gather; what is larger than 4 KiB, or than the room that is left, leaves at once.
  [[nodiscard]] Result<void> write(std::string_view data);
  /// Commits the head and sends what was written so far: for a stream whose reader waits for the piece.
  [[nodiscard]] Result<void> flush();
  /// `count` bytes of `fd` from `offset`, by sendfile; BodyKind::length only. Commits the head. Error io_error: the
  /// file turned out shorter; return it, and the connection ends.
  [[nodiscard]] Result<void> write_file(int fd, std::uint64_t offset, std::uint64_t count);
  [[nodiscard]] Result<void> end();
  /// Forgets the answer that was begun, so that another one can be given; respond_error() does so by itself. False: its
  /// head is on its way already.
  [[nodiscard]] bool discard() noexcept;

  /// The head of the answer is on its way; it can not be changed into another.
  [[nodiscard]] bool committed() const noexcept { return status_ != 0; }

 private:
  friend class Connection;
  /// How much of a body is read for nothing, so that the connection can go on.
  static constexpr std::uint64_t kDrainBytes = std::uint64_t{256} * 1024;
  [[nodiscard]] Result<std::size_t> receive_body();
  /// Whether what is left of the body, if nobody wants it, would end the connection.
  [[nodiscard]] bool leaves_too_much() const noexcept;
  [[nodiscard]] Result<HeadWritten> write_large_head(const ResponseHead& head);
  Exchange(Connection& connection, const Request& request) noexcept : connection_(connection), request_(request) {}
  void end_context() noexcept {
    if (context_.context != context::Context()) [[unlikely]]
      context_.cancel();
  }
  void note_body_read() noexcept;
  void settle_keep_alive(RestOfBody rest) noexcept;
  Result<void> commit(ResponseHead& head, RestOfBody rest);
  Result<void> commit_begun(bool ended);
  [[nodiscard]] bool holds(std::size_t size) noexcept;
  [[nodiscard]] bool sends_body() const noexcept { return !head_only_ && status_has_body(head_end_.status); }

  Connection& connection_;
  const Request& request_;
  context::Cancelable context_;  // background: nobody has asked
  std::string_view path_;
  std::size_t rest_ = 0;
  bool exact_route_ = false;
  Deadline deadline_;
  BodyDecoder decoder_;
  Reject refused_ = Reject::none;
  unsigned status_ = 0;
  bool keep_alive_ = true;
  bool continue_sent_ = false;
  bool ended_ = false;
  bool head_only_ = false;
  bool begun_ = false;
  BodyKind kind_ = BodyKind::length;
  RestOfBody rest_of_body_ = RestOfBody::may_be_read;
  std::uint32_t body_room_ = 0;  // where in the input buffer the body is read to: behind the head
  RateGuard reads_;
  bool body_timed_out_ = false;
  std::uint64_t left_ = 0;        // of a body with known length
  std::uint64_t body_bytes_ = 0;  // sent, or in the output buffer
  // Where the answer and its body begin in all that the connection sends: what of it the kernel has taken tells how
  // much of the answer the client may have.
  std::uint64_t answer_at_ = 0;
  std::uint64_t body_at_ = 0;
  // Of an answer that is begun and not committed. In the output buffer, behind the answers that wait: the head but for
  // its end from head_begin_ on, room for that end, and from held_begin_ on the body.
  HeadEnd head_end_{};
  std::uint32_t head_begin_ = 0;
  std::uint32_t held_begin_ = 0;
  std::uint64_t held_ = 0;
};

/// Answers requests of one route. One object serves all connections at once, on several threads: it must be const in
/// effect or lock. An error means that the connection is lost; an exception that leaves serve() is logged, counted and
/// answered 500.
class Handler {
 public:
  Handler() = default;
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;
  virtual ~Handler() = default;
  virtual Result<void> serve(Exchange& exchange) = 0;
};

}  // namespace fiberd::http
