#pragma once
// Exchange: one request and its answer, as a handler sees them, whatever protocol carries them. Code that reads as if
// it blocked; every wait obeys the connection's time-outs and ends when the connection is closed or the server stops
// hard.
//
// An answer that is begun waits until its buffer is full, it ends, or flush() is called: only then is its head
// committed. Until then its fields can be changed (set_field, HeadHook), it can still become another (an exception is a
// clean 500, a body whose framing breaks a 400), a body that ends before gets a Content-Length, and whether the
// connection goes on is decided by what is known then, so that a server that began to stop meanwhile says so.
//
// Two fibers. read_body() may be called by one fiber while another writes the answer (begin, write, flush, end):
// a proxy, a chat, a transformation. Whoever does so asks for context() and client_context() before, calls flush() when
// the client waits for what was written, and joins the second fiber before serve() returns. With one fiber that does
// both in turn nothing need be flushed: when read_body() has to wait, what was committed leaves first.
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/bug.hpp"
#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/http/answer_head.hpp"
#include "core/http/field_lines.hpp"
#include "core/http/message.hpp"
#include "core/http/response.hpp"
#include "core/http/server_stream.hpp"
#include "core/http/slots.hpp"
#include "core/trace/ids.hpp"

namespace fiberd::trace {
class RequestSpan;
}

namespace fiberd::http {

class EventStream;
class Site;
struct ErrorPage;
struct EventOptions;

/// Used by the fiber that serves the request, during Handler::serve only; by two as is said above.
class Exchange final {
 public:
  /// For protocols.
  Exchange(ServerStream& stream, const Request& request, const Site& site) noexcept
      : stream_(stream), request_(request), site_(site), to_head_(request.method == Method::head) {}
  ~Exchange() {
    if (hooks_ != nullptr) [[unlikely]]
      report_bug("a hook outlives its exchange");
  }
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
  /// The client's address; unspecified where nobody knows it (any more). Behind trusted proxies it is the one that they
  /// tell (set_peer), else the connection's.
  [[nodiscard]] net::Endpoint peer() const noexcept;
  /// For a filter that knows better than the connection: who is asking. Limits, logs and handlers go by it from then
  /// on. Throws std::bad_alloc.
  void set_peer(const net::Endpoint& peer);
  /// What TLS told about the client, who is the connection's; null where nothing is encrypted.
  [[nodiscard]] const net::TlsPeer* tls() const noexcept { return stream_.tls(); }
  /// Somebody has called set_peer().
  [[nodiscard]] bool peer_is_set() const noexcept;
  /// A hash of the client's IPv4 address or IPv6 /64 under a secret of this process; never 0: what limits by client
  /// count by.
  [[nodiscard]] std::uint64_t client_key() noexcept;
  /// "HTTP/1.1": for logs. Handlers need not care.
  [[nodiscard]] std::string_view protocol() const noexcept { return stream_.protocol(); }
  /// This request's value of type T, made at the first call, gone with the request: what filters tell handlers and each
  /// other. Throws std::bad_alloc and what T() throws.
  template <class T>
  [[nodiscard]] T& slot() {
    return slots().get<T>();
  }
  /// nullptr when nobody has called slot<T>().
  template <class T>
  [[nodiscard]] T* find_slot() const noexcept {
    const Slots* const there = made_slots();
    return there != nullptr ? there->find<T>() : nullptr;
  }

  // ---- contexts, made when they are first asked for: a handler that waits for nothing pays nothing

  /// The request's: done at deadline(), when the client goes away (cause() says connection_reset, or
  /// connection_aborted when it ended its side: client_context.hpp), when a stopping server's patience ends, and when
  /// serve() has returned. Pass it to all that the request waits for. Throws std::bad_alloc.
  [[nodiscard]] const context::Context& context();
  /// The connection's: the same without the deadline and beyond this request, until the connection ends. For answers
  /// that are streamed for longer than deadline(). Throws std::bad_alloc.
  [[nodiscard]] const context::Context& client_context() { return stream_.client_context(); }

  /// The server's: done, with the cause errc::draining (errc.hpp), when the server begins to stop and waits for what it
  /// serves to end; by then nobody is accepted any more. It knows nothing of the client. For what has no end of its
  /// own: a subscription, a WebSocket, which have until the end of client_context() to say good-bye.
  [[nodiscard]] const context::Context& drain_context() const noexcept { return stream_.drain_context(); }

  // ---- tracing (core/trace): what is below a span of the request's is said by contexts, trace::Span and http::Client

  /// The trace that this request belongs to, its span, and whether they go to the collector; all zero where nothing is
  /// traced. Once the request is over `sampled` is the last word: it may have been kept for having failed or taken
  /// long. Ids are made by the first who asks.
  [[nodiscard]] trace::SpanContext trace_ids() const noexcept;
  /// `ctx` with this request's span in it, as context() has: for work under another context, such as client_context()
  /// or one that goes on behind the request. Throws std::bad_alloc.
  [[nodiscard]] context::Context with_trace(const context::Context& ctx);

  // ---- request body

  /// The next piece of the body, zero-copy; empty at its end. Sends 100 Continue first if the client waits for it. The
  /// view holds until the next call. Waits at most `timeouts.body` for progress, as long as `limits.body_rate` allows,
  /// and not beyond deadline() while no answer is committed. After an error the answer, if none was committed, is the
  /// server's: 400, 408, 413 by cause.
  [[nodiscard]] Result<std::string_view> read_body() {
    return stream_.read_body(committed() ? Deadline::never() : deadline_);
  }
  /// The fields behind the body (RFC 9110 section 6.5), once read_body() has returned its end; until serve() returns.
  [[nodiscard]] HeaderView trailers() const noexcept { return stream_.trailers(); }

  // ---- answer: respond, or begin … write … flush … end

  /// All at once. To HEAD the same call: the body is left out by itself. Errors: invalid_argument (a field that would
  /// split the message), or the connection's.
  [[nodiscard]] Result<void> respond(unsigned status, std::string_view content_type, std::string_view body,
                                     std::span<const Field> fields = {});
  /// The same with more of a head. Its content_length is that of the body, but for a 304 without one.
  [[nodiscard]] Result<void> respond(const ResponseHead& head, std::string_view body);
  [[nodiscard]] Result<void> respond(const PreparedResponse& prepared);
  /// An error: the page for `status` of the route or the listener if there is one, else a body in the form that Accept
  /// likes best: plain text, application/problem+json (RFC 9457) or HTML. At most 8 fields.
  [[nodiscard]] Result<void> respond_error(unsigned status, std::span<const Field> fields = {});
  /// In pieces. Say so if the handler will read no more of the request's body: then the answer can tell whether the
  /// connection ends for that. What `head` points to is not needed after the call. With a content_length exactly so
  /// many bytes must follow; without one the answer gets it by itself when all of the body fits into the output buffer
  /// (some 14 KiB) and nobody called flush().
  [[nodiscard]] Result<void> begin(const ResponseHead& head, RestOfBody rest = RestOfBody::may_be_read);
  /// Small pieces gather; what is larger than 4 KiB, or than the room that is left, leaves at once.
  [[nodiscard]] Result<void> write(std::string_view data);
  /// Commits the head and sends what was written so far: for a stream whose reader waits for the piece.
  [[nodiscard]] Result<void> flush();
  /// `count` bytes of `fd` from `offset`, by sendfile where nothing stands in between; with a content_length only.
  /// Commits the head. Error io_error: the file turned out shorter; return it, and the connection ends.
  [[nodiscard]] Result<void> write_file(int fd, std::uint64_t offset, std::uint64_t count);
  [[nodiscard]] Result<void> end() { return end({}); }
  /// With trailers (RFC 9110 section 6.5): the answer has no Content-Length then. Error invalid_argument, and nothing
  /// is sent: it has said one, or a field may not be a trailer. To a client of HTTP/1.0, and to HEAD, they are left
  /// out.
  [[nodiscard]] Result<void> end(std::span<const Field> trailers);
  /// An answer of server-sent events (event_stream.hpp), begun; it must die before serve() returns. nullptr: it was to
  /// a HEAD, and has ended. Errors: as begin() and flush(). Throws std::bad_alloc.
  [[nodiscard]] Result<std::unique_ptr<EventStream>> events();
  [[nodiscard]] Result<std::unique_ptr<EventStream>> events(const EventOptions& options);
  /// Forgets the answer that was begun, so that another one can be given; respond_error() does so by itself. False: its
  /// head is on its way already.
  [[nodiscard]] bool discard() noexcept;

  /// The head of the answer is on its way; it can not be changed into another.
  [[nodiscard]] bool committed() const noexcept { return status() != 0; }
  /// Nothing of the answer is missing.
  [[nodiscard]] bool ended() const noexcept { return ended_; }
  /// Of the answer that is committed; else 0.
  [[nodiscard]] unsigned status() const noexcept { return status_.load(std::memory_order_relaxed); }

  // ---- what others say of the answer, before or after it was begun, until its head is committed

  /// A field of the answer, whichever it will be. Errors: as AnswerHead's, and operation_not_permitted: the head is
  /// committed. Throws std::bad_alloc.
  [[nodiscard]] Result<void> set_field(std::string_view name, std::string_view value);
  [[nodiscard]] Result<void> add_field(std::string_view name, std::string_view value);
  [[nodiscard]] Result<void> remove_field(std::string_view name);
  /// From now on `hook` is told when the head of the answer is committed, until it is destroyed.
  void on_head(HeadHook& hook) noexcept;
  /// For a filter or a handler that refuses the request: why, for the access log: a word in static storage.
  void set_refusal(std::string_view reason) noexcept { refusal_ = reason; }
  [[nodiscard]] std::string_view refusal() const noexcept { return refusal_; }
  /// Pages for errors instead of the listener's, which stay for what is not among them. Must live until serve()
  /// returns.
  void use_error_pages(std::span<const ErrorPage> pages) noexcept { error_pages_ = pages; }

  // ---- before and instead of an answer

  /// An interim answer (103 Early Hints, 102), sent at once (RFC 9110 section 15.2). Clients of HTTP/1.0 get none.
  /// Errors: invalid_argument (not 102 … 199; a field that would split the message), operation_not_permitted (the
  /// answer is committed already), or the connection's.
  [[nodiscard]] Result<void> respond_interim(unsigned status, std::span<const Field> fields);
  /// The client asks to speak `protocol` from now on: by Upgrade, or by an extended CONNECT.
  [[nodiscard]] bool asks_upgrade(std::string_view protocol) const noexcept;
  /// Leaves HTTP: answers 101 Switching Protocols with `Upgrade: protocol` (an extended CONNECT with 200), and from
  /// then on the bytes of the connection (of the stream) are the handler's, with its own deadlines, until serve()
  /// returns; then it is closed. The client must have asked for it (asks_upgrade()). Errors: operation_not_permitted
  /// (an answer was begun, the client did not ask, the request has a body, or its protocol knows no upgrades), or the
  /// connection's.
  [[nodiscard]] Result<net::ByteStream*> upgrade(std::string_view protocol, std::span<const Field> fields = {});

 private:
  friend class Dispatch;
  friend class HeadHook;
  friend class WebSocket;

  struct Edit;
  /// What most requests do without.
  struct More;
  struct DeleteMore {
    void operator()(More* more) const noexcept;
  };

  void end_context() noexcept {
    if (context_.context != context::Context()) [[unlikely]]
      context_.cancel();
  }
  void note_committed(unsigned status) noexcept {
    begun_status_ = status;
    status_.store(status, std::memory_order_relaxed);
  }
  [[nodiscard]] bool sends_body() const noexcept { return !to_head_ && status_has_body(begun_status_); }
  [[nodiscard]] More& more();
  [[nodiscard]] Slots& slots();
  [[nodiscard]] const Slots* made_slots() const noexcept;
  [[nodiscard]] bool is_plain() const noexcept { return hooks_ == nullptr && !edited_; }
  /// The fields' part of it.
  std::span<char> take_room() noexcept;
  [[nodiscard]] Result<void> lay_out(const ResponseHead& head);
  [[nodiscard]] Result<void> edit(Edit edit);
  [[nodiscard]] Result<void> apply_edits();
  [[nodiscard]] Result<void> respond_changed(unsigned status, std::string_view body, std::string_view lines);
  /// The head of the answer that is begun, and behind it what is held of the body and `data`. `complete`: that is all.
  [[nodiscard]] Result<void> commit(std::string_view data, bool complete, bool with_trailers);
  // exchange_encoding.cpp
  [[nodiscard]] Result<void> out_of_place(const char* what) const noexcept;
  [[nodiscard]] BodyEncoder* tell_hooks(std::optional<std::uint64_t> length, bool complete);
  [[nodiscard]] Result<void> commit_encoded(AnswerStart& start, std::string_view data, bool complete,
                                            bool with_trailers);
  [[nodiscard]] std::error_code give_up_encoding(std::error_code error) noexcept;
  [[nodiscard]] Result<void> pump(std::string_view in, EncodeTo to);
  [[nodiscard]] Result<void> pump_file(int fd, std::uint64_t offset, std::uint64_t count);

  ServerStream& stream_;
  const Request& request_;
  const Site& site_;
  context::Cancelable context_;  // background: nobody has asked
  std::string_view path_;
  std::size_t rest_ = 0;
  Deadline deadline_;
  std::unique_ptr<More, DeleteMore> more_;
  std::span<const ErrorPage> error_pages_;
  std::string_view refusal_;
  trace::RequestSpan* trace_ = nullptr;  // of the dispatch

  HeadHook* hooks_ = nullptr;  // the last one first
  // Of an answer that is begun: its fields, and its body as far as it waits, in the stream's room.
  FieldLines lines_;
  std::span<char> held_room_;
  std::size_t held_ = 0;
  std::optional<std::uint64_t> length_;  // said by begin()
  std::uint64_t left_ = 0;               // of it
  unsigned begun_status_ = 0;
  std::atomic<unsigned> status_{0};  // once committed; a second fiber that reads the body asks, too
  RestOfBody rest_of_body_ = RestOfBody::may_be_read;
  bool begun_ = false;
  bool ended_ = false;
  bool edited_ = false;
  bool encoded_ = false;  // what is written passes an encoder
  bool settled_ = false;  // what went wrong has been told
  bool telling_ = false;  // the hooks are being told; ended_ is true as long
  bool exact_route_ = false;
  const bool to_head_;
};

}  // namespace fiberd::http
