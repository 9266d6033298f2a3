#pragma once
// ClientCall: one request and its answer on the wire, from the connection's lease to its return: what client.hpp's
// objects stand on. It knows HTTP/1.1; for another protocol there is to be another one behind the same calls.
//
// One buffer, as the server has it: the answer's head stays at its front, so that its fields can be looked at for as
// long as the answer lives, and the body is read into the room behind, piece by piece. The connection needs none, so it
// goes back to the pool when the last byte of the answer is read, and not when the answer's owner is done with it.
//
// What makes a connection fit for another request: the request was sent whole, the answer was read whole, it did not
// say close, and not one byte came behind it. Everything else closes it: an error, a cancelled context, an answer that
// was let go of half-read, bytes that nobody asked for. So no answer is taken for another's, but of a server that sends
// a second one for one request in the very moment in which the connection is used again (pool.hpp); a request that
// could not be repeated never meets one that has arrived.
//
// The server may answer before it has read the request's body, and read no more of it. So while the kernel takes
// nothing of the body a look is taken now and then whether an answer has begun, and after a failed write, too.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <sys/uio.h>

#include "core/base/clock.hpp"
#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/http/client/client_metrics.hpp"
#include "core/http/client/client_options.hpp"
#include "core/http/client/client_request.hpp"
#include "core/http/client/pool.hpp"
#include "core/http/client/response_guard.hpp"
#include "core/http/h1/body_decoder.hpp"
#include "core/net/resolver.hpp"
#include "core/sync/object_pool.hpp"
#include "core/trace/span.hpp"

namespace fiberd::http::client_detail {

struct ClientCore;

/// Used by one fiber at a time. Reusable: start() begins anew.
class ClientCall {
 public:
  explicit ClientCall(const ClientOptions& options);

  /// Sends the request, and again if that is safe, and receives the answer's head. Throws std::bad_alloc.
  [[nodiscard]] Result<void> run(const context::Context& ctx, ClientCore& core, const ClientRequest& request);

  // An upload: the head, pieces, the end and the answer's head.
  [[nodiscard]] Result<void> begin(const context::Context& ctx, ClientCore& core, const ClientRequest& request);
  [[nodiscard]] Result<void> write(const context::Context& ctx, std::string_view piece);
  [[nodiscard]] Result<void> end(const context::Context& ctx);
  /// The answer is there, or the connection is gone: no more of the body is wanted.
  [[nodiscard]] bool wants_no_more() const noexcept { return answered_ || broken_; }

  // The answer, once its head is there.
  [[nodiscard]] const ResponseGuard::Head& head() const noexcept { return guard_.head(); }
  [[nodiscard]] HeaderView headers() const noexcept { return {in_.get(), guard_.fields(), guard_.head().field_count}; }
  [[nodiscard]] std::string_view reason() const noexcept {
    return {in_.get() + ResponseGuard::kReasonBegin, guard_.head().reason_size};
  }
  [[nodiscard]] bool reused() const noexcept { return reused_; }
  [[nodiscard]] std::optional<std::uint64_t> content_length() const noexcept;
  [[nodiscard]] Result<std::string_view> read_body(const context::Context& ctx);
  /// Nobody wants the rest. The connection goes back if the rest is here already, else it is closed.
  void abandon() noexcept;
  /// Of a request that nobody will hear about: its connection, if it has one still, is closed.
  void drop_unanswered() noexcept {
    lease_.drop();
    end_span();
  }
  /// As abandon(), for an error of the answer's, which is counted and returned.
  std::error_code give_up(std::error_code error) noexcept;

 private:
  enum class Parsed : std::uint8_t { need_more, interim, proceed, answer };
  enum class Awaited : std::uint8_t { answer, proceed, timeout };

  void begin_span(const context::Context& ctx, const ClientRequest& request);
  void end_span() noexcept {
    if (span_.ids().valid()) [[unlikely]]
      span_ = trace::Span();
  }
  [[nodiscard]] Result<void> prepare(const context::Context& ctx, ClientCore& core, const ClientRequest& request);
  [[nodiscard]] Result<void> connect(const context::Context& ctx, const ClientRequest& request, bool ask);
  [[nodiscard]] Result<std::size_t> read_some(const context::Context& ctx, std::size_t from, Deadline own) noexcept;
  [[nodiscard]] Result<void> exchange(const context::Context& ctx, const ClientRequest& request);
  [[nodiscard]] Result<void> send(const context::Context& ctx, const ClientRequest& request);
  [[nodiscard]] Result<void> send_source(const context::Context& ctx, BodySource& source);
  [[nodiscard]] Result<void> send_piece(const context::Context& ctx, std::string_view piece);
  [[nodiscard]] Result<void> send_parts(const context::Context& ctx, std::span<iovec> parts);
  [[nodiscard]] Result<void> send_end(const context::Context& ctx);
  [[nodiscard]] Result<void> receive_head(const context::Context& ctx);
  [[nodiscard]] Result<Awaited> await(const context::Context& ctx, Deadline until, bool may_proceed);
  [[nodiscard]] Result<Parsed> parse() noexcept;
  [[nodiscard]] Result<void> begin_body();
  [[nodiscard]] Result<std::string_view> next_piece(const context::Context& ctx);
  [[nodiscard]] Result<bool> has_answered();
  [[nodiscard]] bool may_repeat(const ClientRequest& request, const std::error_code& error) const;
  void reset_exchange() noexcept;
  void finish_body() noexcept;
  std::error_code failed(std::error_code error, std::optional<ClientFailure> what = {}) noexcept;

  const ClientOptions& options_;
  ClientCore* core_ = nullptr;
  ConnectionLease lease_;
  ResponseGuard guard_;
  BodyDecoder decoder_;
  RequestFraming framing_;
  std::string out_;     // the request's head
  std::string origin_;  // the name of the place that is asked
  std::size_t capacity_;
  std::unique_ptr<char[]> in_;
  // In in_: what has been read lies before end_; of the body pos_ is the next byte, and room_ where it is read to.
  std::size_t end_ = 0;
  std::size_t pos_ = 0;
  std::size_t room_ = 0;
  std::uint64_t received_ = 0;  // bytes of the connection, in this exchange
  std::uint64_t body_received_ = 0;
  std::uint64_t sent_ = 0;       // bytes that the kernel has taken of the request
  std::uint64_t body_sent_ = 0;  // of the body, as far as it was given to us
  std::uint32_t interim_ = 0;
  trace::Span span_;             // from here to the answer's last byte, where the context has a trace
  std::error_code error_;        // what ended the answer before its end
  bool source_touched_ = false;  // something was read from it
  bool to_head_ = false;         // the request is HEAD
  bool close_ = false;           // the request says so
  bool reused_ = false;
  bool head_sent_ = false;
  bool sent_all_ = false;
  bool answered_ = false;  // the answer's head is there
  bool broken_ = false;    // the connection takes no more
  bool keep_ = false;
  bool until_close_ = false;
  bool done_ = false;  // of the answer's body nothing more will come
};

/// Calls are kept for their buffers.
struct MakeCall {
  const ClientOptions* options;
  [[nodiscard]] ClientCall operator()() const { return ClientCall(*options); }
};
using CallPool = sync::ObjectPool<ClientCall, MakeCall>;

/// What a client consists of.
struct ClientCore {
  explicit ClientCore(ClientOptions o);
  const ClientOptions options;
  const net::Resolver resolver;
  ConnectionPool connections;
  CallPool calls;
  /// Of https. Null: memory is out.
  [[nodiscard]] std::shared_ptr<const tls::ClientContext> tls_context();

 private:
  Lock lock_;
  std::shared_ptr<const tls::ClientContext> own_tls_ FIBERD_GUARDED_BY(lock_);  // once one is needed
};

}  // namespace fiberd::http::client_detail
