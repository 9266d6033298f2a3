#pragma once
// ServerStream: one request and its answer on the wire. A protocol implements it (h1 here, h2 to come); Exchange is
// what handlers see of it and holds what is the same for all of them: the answer that is being built, its late head,
// filters' hooks.
//
// Who may call what: one fiber reads (read_body, trailers), one writes (all that sends), and they may be two. The
// stream sees to it that they do not meet where the protocol joins them (an interim answer that asks for the body, what
// waits to be sent when the reader has to wait). All else comes from the request's own fiber before or behind them.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/http/message.hpp"
#include "core/http/reject.hpp"
#include "core/http/response.hpp"
#include "core/net/byte_stream.hpp"
#include "core/net/endpoint.hpp"

namespace fiberd::http {

/// What becomes of the part of a request's body that was not read when the answer begins.
enum class RestOfBody : std::uint8_t { may_be_read, unread };

/// The head of an answer, as a stream is given it: either the fields of a ResponseHead, or `lines`.
struct AnswerStart {
  ResponseHead head{};
  std::string_view server{};  ///< with `head`'s fields
  std::string_view lines{};   ///< FieldLines::text(), checked already; then `head` says status and length only
  RestOfBody rest = RestOfBody::may_be_read;
};

/// Why a request could not be served to its end, as far as it is not its handler's doing.
struct Trouble {
  Reject refused = Reject::none;  ///< the body's framing or size
  bool late = false;              ///< the body did not come in time
  bool unfinished = false;        ///< some of the body has not been read
  bool lost = false;              ///< a send failed: nothing can be said any more
  bool client_gone = false;       ///< it was cut, or somebody asked for the client's context, and that is done
  bool stopping = false;          ///< the server cuts what is left
};

class ServerStream {
 public:
  // ---- the request's body
  /// Before the first read, of a request with a body. Not none: why a body with this length is refused.
  [[nodiscard]] virtual Reject expect_body(std::uint64_t most) noexcept = 0;
  /// As Exchange::read_body(). `own`: of the request, while no answer is committed.
  [[nodiscard]] virtual Result<std::string_view> read_body(Deadline own) = 0;
  /// Once read_body() has returned the end.
  [[nodiscard]] virtual HeaderView trailers() const noexcept = 0;

  // ---- the answer
  /// Commits it.
  [[nodiscard]] virtual Result<void> send_head(const AnswerStart& start) = 0;
  /// Head and body at once.
  [[nodiscard]] virtual Result<void> send_prepared(const PreparedResponse& prepared) = 0;
  /// A piece of the body; small ones gather.
  [[nodiscard]] virtual Result<void> send(std::string_view data) = 0;
  /// How much of it was sent is added to `sent`. Error io_error: the file is shorter.
  [[nodiscard]] virtual Result<void> send_file(int fd, std::uint64_t offset, std::uint64_t count) = 0;
  /// Trailers are checked already. They go only where the protocol has a place for them: behind a body whose length was
  /// not told.
  [[nodiscard]] virtual Result<void> end(std::span<const Field> trailers) = 0;
  [[nodiscard]] virtual Result<void> flush() = 0;
  /// A 1xx answer, sent at once; nothing to a client that does not know them.
  [[nodiscard]] virtual Result<void> send_interim(unsigned status, std::span<const Field> fields) = 0;
  /// 101, or what the protocol has instead (200 to an extended CONNECT): from now on the bytes are the handler's, until
  /// serve() returns.
  [[nodiscard]] virtual Result<net::ByteStream*> upgrade(std::string_view protocol, std::span<const Field> fields) = 0;
  /// Nothing can follow this request on its connection.
  virtual void end_connection() noexcept = 0;

  /// Where fields and body of an answer wait that is not committed; the same memory each time, nobody else's meanwhile.
  struct Room {
    std::span<char> fields;
    std::span<char> body;
  };
  [[nodiscard]] virtual Room room() noexcept = 0;

  // ---- who asks
  [[nodiscard]] virtual const context::Context& client_context() = 0;
  /// As Exchange::drain_context().
  [[nodiscard]] virtual const context::Context& drain_context() const noexcept = 0;
  [[nodiscard]] virtual net::Endpoint peer() const noexcept = 0;
  /// Null: the connection is not encrypted.
  [[nodiscard]] virtual const net::TlsPeer* tls() const noexcept { return nullptr; }
  /// A hash of the peer's address (gate.hpp).
  [[nodiscard]] virtual std::uint64_t client_key() noexcept = 0;
  /// "HTTP/1.1": for logs.
  [[nodiscard]] virtual std::string_view protocol() const noexcept = 0;
  [[nodiscard]] virtual Trouble trouble() const noexcept = 0;

 protected:
  ~ServerStream() = default;
};

}  // namespace fiberd::http
