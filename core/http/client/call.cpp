// ClientCall from the request's head to its last byte. The answer: call_answer.cpp.
#include "core/http/client/call.hpp"

#include <algorithm>
#include <array>
#include <new>

#include "core/context/errc.hpp"
#include "core/context/waits.hpp"
#include "core/http/client/connect.hpp"
#include "core/http/client/errc.hpp"
#include "core/http/client/url.hpp"
#include "core/http/response.hpp"
#include "core/net/parts.hpp"
#include "core/runtime/runtime.hpp"
#include "core/tls/errc.hpp"

namespace fiberd::http::client_detail {

static constexpr std::size_t kBodyRoom = 16 * 1024;
/// How long a write that gets nowhere waits until it looks whether the server has answered meanwhile.
static constexpr std::chrono::nanoseconds kLook = std::chrono::milliseconds(100);

/// The connection has ended under us. Whether the server has seen what was sent is open.
static bool is_dead(const std::error_code& error) noexcept {
  return error == client_errc::closed_before_answer || error == std::errc::connection_reset ||
         error == std::errc::broken_pipe || error == std::errc::not_connected || error == tls::errc::truncated ||
         (error.category() == std::system_category() && error == std::errc::timed_out);
}

/// `call(until, cancellation)` under `ctx` and a deadline of its own.
template <class Call>
static Result<std::size_t> under(const context::Context& ctx, Deadline own, Call call) noexcept {
  if (const std::error_code error = error_of(context::check(ctx))) return fail(error);
  Result<std::size_t> outcome = call(own.earlier(ctx.deadline()), ctx.wait_point());
  if (!outcome) return fail(context::to_error(outcome.error(), ctx, own));
  return outcome;
}

static iovec part_of(std::string_view text) noexcept { return {const_cast<char*>(text.data()), text.size()}; }

ClientCore::ClientCore(ClientOptions o)
    : options(std::move(o)),
      resolver(options.resolver),
      connections(options.pool, options.metrics),
      calls(CallPool::kDefaultKept, MakeCall{&options}) {}

std::shared_ptr<const tls::ClientContext> ClientCore::tls_context() {
  if (options.tls != nullptr) return options.tls;
  const LockGuard guard(lock_);
  if (own_tls_ == nullptr) own_tls_ = tls::ClientContext::make({.protocols = {"http/1.1"}}).value_or(nullptr);
  return own_tls_;
}

ClientCall::ClientCall(const ClientOptions& options)
    : options_(options),
      guard_(options.head),
      capacity_(options.head.header_size + kBodyRoom),
      in_(std::make_unique_for_overwrite<char[]>(capacity_)) {}

void ClientCall::reset_exchange() noexcept {
  guard_.reset();
  end_ = pos_ = room_ = 0;
  received_ = body_received_ = sent_ = body_sent_ = 0;
  interim_ = 0;
  error_ = {};
  source_touched_ = false;
  head_sent_ = sent_all_ = answered_ = broken_ = keep_ = until_close_ = done_ = false;
}

/// OpenTelemetry's semantic conventions for HTTP clients. The query is left out: secrets stand there.
void ClientCall::begin_span(const context::Context& ctx, const ClientRequest& request) {
  end_span();
  // A call is kept for the next one, and must not keep the context of one that has no trace.
  if (!trace::current(ctx).valid()) return;
  const std::string_view method = request.method_text.empty() ? method_token(request.method) : request.method_text;
  span_ = trace::Span(ctx, method, trace::SpanKind::client);
  if (!span_.recording()) return;
  span_.set("http.request.method", method);
  // Of one that is not well-formed nothing is known, and a password might stand in it.
  if (const Result<ClientUrl> url = parse_client_url(request.url))
    span_.set("url.full", request.url.substr(0, request.url.find_first_of("?#")))
        .set("server.address", url->host)
        .set("server.port", url->port);
}

Result<void> ClientCall::prepare(const context::Context& ctx, ClientCore& core, const ClientRequest& request) {
  core_ = &core;
  metric::count(options_.metrics.requests);
  const bool may_have_body =
      request.method == Method::post || request.method == Method::put || request.method == Method::patch;
  if (request.source != nullptr) {
    framing_ = {.has_body = true, .length = request.source_size};
  } else {
    framing_ = {.has_body = !request.body.empty() || (may_have_body && request.method_text.empty()),
                .length = request.body.size()};
  }
  to_head_ = request.method_text.empty() ? request.method == Method::head : request.method_text == "HEAD";
  close_ = request.close;
  begin_span(ctx, request);
  if (!span_.ids().valid()) [[likely]]
    return write_request_head(out_, request, framing_, options_.user_agent);
  return write_request_head(out_, request, framing_, options_.user_agent, {span_.traceparent(), span_.tracestate()});
}

/// An idle connection of the origin, or a new one. `ask`: an idle one is looked at closely.
Result<void> ClientCall::connect(const context::Context& ctx, const ClientRequest& request, bool ask) {
  const Result<ClientUrl> url = parse_client_url(request.url);
  if (!url) return fail(url.error());
  if (!lease_) {
    origin_.clear();
    if (url->secure) origin_.append("https://").append(url->authority);
    if (request.endpoint) {
      // Who is asked by another name at the same place has proved another one.
      if (url->secure) origin_ += '@';
      origin_ += request.endpoint->to_string();
    } else if (!url->secure) {
      origin_.assign(url->authority);
    }
    Result<ConnectionLease> lease = core_->connections.acquire(ctx, origin_, ask);
    if (!lease) return fail(failed(lease.error()));
    lease_ = std::move(*lease);
  }
  reused_ = lease_.connected();
  if (reused_) return {};
  const auto gone = [this](const ConnectFailure& why) {
    lease_.drop();
    return fail(failed(why.error, why.what));
  };
  const Deadline until = Deadline::in(options_.timeouts.connect);
  auto stream = connect_client(ctx, core_->resolver, url->host, url->port, request.endpoint, until);
  if (!stream) return gone(stream.error());
  if (!url->secure) {
    lease_.connect(std::make_unique<net::TcpStream>(std::move(*stream)));
    return {};
  }
  const std::shared_ptr<const tls::ClientContext> with = core_->tls_context();
  if (with == nullptr) return gone({std::make_error_code(std::errc::not_enough_memory), ClientFailure::tls});
  auto secure = secure_client(ctx, std::move(*stream), *with, url->host, options_.metrics, until);
  if (!secure) return gone(secure.error());
  lease_.connect(std::move(*secure));
  return {};
}

bool ClientCall::may_repeat(const ClientRequest& request, const std::error_code& error) const {
  if (!reused_ || received_ != 0 || !is_dead(error)) return false;
  const bool idempotent = request.idempotent.value_or(request.method_text.empty() && is_idempotent(request.method));
  // What the kernel took nothing of, the server has not seen.
  if (!idempotent && sent_ != 0) return false;
  return !source_touched_ || request.source->rewind();
}

Result<void> ClientCall::run(const context::Context& ctx, ClientCore& core, const ClientRequest& request) {
  if (const Result<void> ready = prepare(ctx, core, request); !ready) return fail(failed(ready.error()));
  const bool idempotent = request.idempotent.value_or(request.method_text.empty() && is_idempotent(request.method));
  for (;;) {
    if (const Result<void> connected = connect(ctx, request, !idempotent); !connected) return connected;
    reset_exchange();
    const Result<void> done = exchange(ctx, request);
    if (done) return {};
    if (ctx.done() || !may_repeat(request, done.error())) {
      lease_.drop();
      return fail(failed(done.error()));
    }
    // Over a new one: the other idle ones are as old. That is no kept one, so there is no third time.
    metric::count(options_.metrics.retried);
    span_.event("sent again over a new connection");
    lease_.disconnect();
  }
}

Result<void> ClientCall::exchange(const context::Context& ctx, const ClientRequest& request) {
  const Result<void> sent = send(ctx, request);
  if (answered_) return {};
  if (sent) return receive_head(ctx);
  // A server that refuses may have answered before it has read everything, and closed.
  if (!is_dead(sent.error())) return sent;
  const Result<void> answer = receive_head(ctx);
  return answer || received_ != 0 || answer.error() == client_errc::tls_refused ? answer : sent;
}

// ------------------------------------------------------------------------------------------------ sending

Result<void> ClientCall::send(const context::Context& ctx, const ClientRequest& request) {
  if (request.expect_continue && framing_.has_body) {
    std::array<iovec, 1> head{part_of(out_)};
    head_sent_ = true;
    if (const Result<void> sent = send_parts(ctx, head); !sent) return sent;
    const Result<Awaited> word = await(ctx, Deadline::in(options_.timeouts.expect), true);
    if (!word) return fail(word.error());
    if (*word == Awaited::answer) return {};  // without the body
  }
  if (request.source != nullptr) return send_source(ctx, *request.source);
  std::array<iovec, 2> parts{part_of(head_sent_ ? std::string_view() : out_), part_of(request.body)};
  if (const Result<void> sent = send_parts(ctx, parts); !sent) return sent;
  sent_all_ = !answered_;
  return {};
}

Result<void> ClientCall::send_source(const context::Context& ctx, BodySource& source) {
  for (;;) {
    source_touched_ = true;
    const Result<std::string_view> piece = source.read(ctx);
    if (!piece) return fail(piece.error());
    if (piece->empty()) break;
    if (const Result<void> sent = send_piece(ctx, *piece); !sent) return sent;
    if (answered_) return {};
  }
  return send_end(ctx);
}

/// A piece of the body as it is framed, with the head before it if that was not sent yet.
Result<void> ClientCall::send_piece(const context::Context& ctx, std::string_view piece) {
  if (framing_.length && piece.size() > *framing_.length - body_sent_) return fail(client_errc::bad_request_body);
  body_sent_ += piece.size();
  std::array<char, kChunkHeadMax> chunk;
  std::string_view chunk_head;
  std::string_view chunk_end;
  if (!framing_.length) {
    chunk_head = {chunk.data(), write_chunk_head(chunk.data(), piece.size())};
    chunk_end = kChunkEnd;
  }
  std::array<iovec, 4> parts{part_of(head_sent_ ? std::string_view() : out_), part_of(chunk_head), part_of(piece),
                             part_of(chunk_end)};
  head_sent_ = true;
  if (const Result<void> sent = send_parts(ctx, parts); !sent) return sent;
  if (answered_ || !lease_.stream().hung_up()) return {};
  const Result<bool> answered = has_answered();
  return answered ? Result<void>() : fail(answered.error());
}

Result<void> ClientCall::send_end(const context::Context& ctx) {
  if (framing_.length && body_sent_ != *framing_.length) return fail(client_errc::bad_request_body);
  std::array<iovec, 2> parts{part_of(head_sent_ ? std::string_view() : out_),
                             part_of(framing_.length ? std::string_view() : kLastChunk)};
  head_sent_ = true;
  if (const Result<void> sent = send_parts(ctx, parts); !sent) return sent;
  sent_all_ = !answered_;
  return {};
}

/// All parts, unless an answer begins meanwhile.
Result<void> ClientCall::send_parts(const context::Context& ctx, std::span<iovec> parts) {
  ClientStream& stream = lease_.stream();
  // Not by the clock of this scheduling round: of a fiber that computed, or a thread that stood still, it is so old
  // that a look's time is over before it begins; and it does not go on while nothing waits.
  std::int64_t now = monotonic_now();
  Deadline until = Deadline::after(now, options_.timeouts.write);
  for (parts = net::behind(parts, 0); !parts.empty(); now = monotonic_now()) {
    const Deadline look = Deadline::after(now, kLook).earlier(until);
    const Result<std::size_t> n = under(ctx, look, [&](Deadline by, runtime::Cancellation* canceled) noexcept {
      return stream.writev_some(parts, by, canceled);
    });
    if (n) {
      sent_ += *n;
      parts = net::behind(parts, *n);
      if (parts.empty()) break;
      until = Deadline::after(monotonic_now(), options_.timeouts.write);
      continue;
    }
    if (!is_own_timeout(n.error())) return fail(n.error());
    const Result<bool> answered = has_answered();
    if (!answered) return fail(answered.error());
    if (*answered) return {};
    if (runtime::past(until)) return fail(client_errc::write_timeout);
  }
  return {};
}

/// Into what is free of the buffer from there.
Result<std::size_t> ClientCall::read_some(const context::Context& ctx, std::size_t from, Deadline own) noexcept {
  const std::span<std::byte> room = std::as_writable_bytes(std::span(in_.get() + from, capacity_ - from));
  Result<std::size_t> n = under(ctx, own, [&](Deadline by, runtime::Cancellation* canceled) noexcept {
    return lease_.stream().read_some(room, by, canceled);
  });
  if (n || n.error().category() != tls::category() || n.error() == tls::errc::truncated) return n;
  // In TLS 1.3 a server that wants a certificate of ours says so when our side is done.
  return fail(n.error() == tls::errc::alert ? client_errc::tls_refused : client_errc::tls_failed);
}

// ------------------------------------------------------------------------------------------------ uploads

Result<void> ClientCall::begin(const context::Context& ctx, ClientCore& core, const ClientRequest& request) {
  if (const Result<void> ready = prepare(ctx, core, request); !ready) return fail(failed(ready.error()));
  framing_.has_body = true;
  if (const Result<void> connected = connect(ctx, request, true); !connected) return connected;
  reset_exchange();
  std::array<iovec, 1> head{part_of(out_)};
  head_sent_ = true;
  Result<void> sent = send_parts(ctx, head);
  if (sent && request.expect_continue) {
    const Result<Awaited> word = await(ctx, Deadline::in(options_.timeouts.expect), true);
    if (!word) sent = fail(word.error());
  }
  if (!sent && !is_dead(sent.error())) {
    lease_.drop();
    return fail(failed(sent.error()));
  }
  broken_ = !sent;
  return {};
}

Result<void> ClientCall::write(const context::Context& ctx, std::string_view piece) {
  if (error_) return fail(error_);
  if (wants_no_more() || piece.empty()) return {};
  const Result<void> sent = send_piece(ctx, piece);
  if (sent) return {};
  if (is_dead(sent.error())) {
    broken_ = true;  // end() tells, for an answer may be there
    return {};
  }
  lease_.drop();
  return fail(error_ = failed(sent.error()));
}

Result<void> ClientCall::end(const context::Context& ctx) {
  if (error_) return fail(error_);
  Result<void> sent;
  if (!wants_no_more()) sent = send_end(ctx);
  if (answered_) return {};
  if (sent || is_dead(sent.error())) {
    const Result<void> answer = receive_head(ctx);
    if (answer) return {};
    sent = answer;
  }
  lease_.drop();
  return fail(error_ = failed(sent.error()));
}

// ------------------------------------------------------------------------------------------------ counting

std::error_code ClientCall::failed(std::error_code error, std::optional<ClientFailure> what) noexcept {
  const auto classify = [&]() noexcept {
    if (error == context::errc::canceled) return ClientFailure::canceled;
    if (error == context::errc::deadline_exceeded) return ClientFailure::deadline;
    if (what) return *what;
    if (is_malformed(error)) return ClientFailure::malformed;
    if (error.category() == client_category()) {
      switch (static_cast<client_errc>(error.value())) {
        case client_errc::bad_url:
        case client_errc::bad_request:
        case client_errc::bad_request_body: return ClientFailure::request;
        case client_errc::too_many_waiting:
        case client_errc::wait_timeout:
        case client_errc::client_closed: return ClientFailure::wait;
        case client_errc::connect_timeout: return ClientFailure::connect;
        case client_errc::certificate_expired:
        case client_errc::certificate_not_yet_valid:
        case client_errc::unknown_issuer:
        case client_errc::name_mismatch:
        case client_errc::certificate_refused:
        case client_errc::not_tls:
        case client_errc::tls_refused:
        case client_errc::tls_failed: return ClientFailure::tls;
        case client_errc::write_timeout: return ClientFailure::write;
        case client_errc::head_timeout:
        case client_errc::body_timeout: return ClientFailure::timeout;
        case client_errc::closed_before_answer: return ClientFailure::closed;
        case client_errc::truncated_head:
        case client_errc::truncated_body: return ClientFailure::truncated;
        case client_errc::head_too_large:
        case client_errc::body_too_large: return ClientFailure::too_large;
        default: return ClientFailure::malformed;
      }
    }
    return is_dead(error) ? ClientFailure::closed : ClientFailure::other;
  };
  const ClientFailure failure = classify();
  metric::count(options_.metrics.failures[static_cast<std::size_t>(failure)]);
  if (span_.recording()) [[unlikely]] {
    try {
      span_.set("error.type", token_of(failure)).fail(error.message());
    } catch (const std::bad_alloc&) {  // it says less
    }
  }
  end_span();
  return error;
}

}  // namespace fiberd::http::client_detail
