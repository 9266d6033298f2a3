#pragma once
// Client: HTTP/1.1 requests to other servers, as calls that read as if they blocked.
//
//   http::Client client;                                             // one for long: it keeps connections
//   auto answer = client.get(ctx, "http://127.0.0.1:8080/weather");
//   if (!answer) return fail(answer.error());
//   if (answer->status() != 200) …
//   auto text = answer->read_all(ctx, 64 * 1024);                    // or read_body(ctx), piece by piece
//
// Every wait obeys the context that is passed with the call, and the client's own time-outs (client_options.hpp). A
// call that its context ends closes the connection it was using: none is ever used again half-way through an answer.
//
// Connections are kept, per Processor, and shared by all who ask (pool.hpp). A kept connection may end at the moment at
// which a request goes out on it; the server may or may not have seen that request. It is sent once more, over a new
// connection, when nothing of an answer has come, the method is idempotent (or nothing was sent at all), and the body
// can be had again. In no other case is anything sent twice.
//
// Answers pass a guard as strict as the one for requests (response_guard.hpp): one that two readers could read
// differently is an error (is_malformed()), and its connection is closed.
//
// Not done: redirects are answers like others, and not followed; no cookies, no proxies, no decompression (and no
// Accept-Encoding is sent by itself). The time that a server that drips has is bounded by the context's deadline alone.
//
// https: the server's certificate must lead to an authority that is believed and have the URL's host
// (client_options.hpp); nothing of a request leaves before. Sessions are resumed.
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/http/client/call.hpp"
#include "core/http/client/client_metrics.hpp"
#include "core/http/client/client_options.hpp"
#include "core/http/client/client_request.hpp"
#include "core/http/client/errc.hpp"
#include "core/http/message.hpp"

namespace fiberd::http {

/// An answer: its head, and its body as it comes. Moved, not copied; used by one fiber at a time; must not outlive its
/// client. One that dies before its body was read lets the rest go: the connection is closed, unless the rest had come
/// already. So let it die, or read it to the end, early: until then the connection is taken.
class ClientResponse {
 public:
  ClientResponse(ClientResponse&&) noexcept = default;
  ClientResponse& operator=(ClientResponse&& o) noexcept;
  ~ClientResponse();

  /// 200 … 599: interim answers are skipped.
  [[nodiscard]] unsigned status() const noexcept { return call_->head().status; }
  /// As the server wrote it; may be empty, and is any server's own.
  [[nodiscard]] std::string_view reason() const noexcept { return call_->reason(); }
  /// Views hold as long as the response.
  [[nodiscard]] HeaderView headers() const noexcept { return call_->headers(); }
  /// What Content-Length says; to HEAD and in 304 of a body that does not come.
  [[nodiscard]] std::optional<std::uint64_t> content_length() const noexcept { return call_->content_length(); }
  /// It came over a connection that had been used before.
  [[nodiscard]] bool reused() const noexcept { return call_->reused(); }

  /// The next piece of the body, zero-copy; empty at its end. The view holds until the next call or the response's end.
  /// Errors: client_errc::truncated_body, body_timeout, body_too_large, is_malformed(); context::errc; the
  /// connection's. After one the connection is closed, and every later call says the same.
  [[nodiscard]] Result<std::string_view> read_body(const context::Context& ctx) { return call_->read_body(ctx); }
  /// What is left of the body, at most `most` bytes. Errors: those of read_body(); client_errc::body_too_large when
  /// there is more. Throws std::bad_alloc.
  [[nodiscard]] Result<std::string> read_all(const context::Context& ctx, std::size_t most);

 private:
  friend class Client;
  friend class ClientUpload;
  using Call = client_detail::CallPool::Pooled;
  explicit ClientResponse(Call call) noexcept : call_(std::move(call)) {}
  Call call_;
};

/// A request whose body is pushed. Moved, not copied; used by one fiber at a time; must not outlive its client. One
/// that dies before finish() closes the connection. Never sent twice.
class ClientUpload {
 public:
  ClientUpload(ClientUpload&&) noexcept = default;
  ClientUpload& operator=(ClientUpload&& o) noexcept;
  ~ClientUpload();

  /// A piece of the body, sent at once. When the server has answered already, or closed the connection, what comes is
  /// dropped: answered() says so, and finish() tells what there is to tell. Errors: client_errc::write_timeout,
  /// bad_request_body (more than was announced), is_malformed() (of an answer that began); context::errc.
  [[nodiscard]] Result<void> write(const context::Context& ctx, std::string_view piece) {
    return call_->write(ctx, piece);
  }
  /// No more of the body is wanted.
  [[nodiscard]] bool answered() const noexcept { return call_->wants_no_more(); }
  /// Ends the body and waits for the answer. Once. Errors: as Client::send; bad_request_body (less than announced).
  [[nodiscard]] Result<ClientResponse> finish(const context::Context& ctx);

 private:
  friend class Client;
  explicit ClientUpload(client_detail::CallPool::Pooled call) noexcept : call_(std::move(call)) {}
  client_detail::CallPool::Pooled call_;
};

/// All members: any fiber, at the same time. Must outlive its responses and uploads. May die after its runtime, but not
/// while another one lives: close() it then before the first one ends.
class Client {
 public:
  explicit Client(ClientOptions options = {});
  ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  /// Sends the request and waits for the head of its answer. Errors: client_errc; context::errc; net::ResolveErrc; what
  /// connect(2) said, and else std::errc::connection_reset, broken_pipe and the like; what the body's source said.
  /// Throws std::bad_alloc.
  [[nodiscard]] Result<ClientResponse> send(const context::Context& ctx, const ClientRequest& request);
  [[nodiscard]] Result<ClientResponse> get(const context::Context& ctx, std::string_view url);
  [[nodiscard]] Result<ClientResponse> post(const context::Context& ctx, std::string_view url,
                                            std::string_view content_type, std::string_view body);
  /// Sends the request's head; its body is to follow by ClientUpload::write: source_size bytes, or in chunks as many as
  /// come (`body` and `source` are not looked at). Errors: as send().
  [[nodiscard]] Result<ClientUpload> begin(const context::Context& ctx, ClientRequest request);

  /// Closes idle connections and turns away those who wait or come: client_errc::client_closed. Requests in flight go
  /// on, and their connections are closed behind them. Idempotent; never parks.
  void close() noexcept;
  /// Connections that are kept now. A snapshot.
  [[nodiscard]] std::size_t idle() const noexcept;

 private:
  const std::unique_ptr<client_detail::ClientCore> core_;
};

}  // namespace fiberd::http
