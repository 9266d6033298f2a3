#include "core/http/h1/stream.hpp"

#include "core/http/client_context.hpp"
#include "core/http/h1/connection.hpp"
#include "core/http/h1/output_guard.hpp"
#include "core/http/h1/trailers.hpp"
#include "core/http/h1/tunnel.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

H1Stream::Body::Body(std::uint32_t at) noexcept : room(at) {}
H1Stream::Body::~Body() = default;
void H1Stream::DeleteTunnel::operator()(Tunnel* tunnel) const noexcept { delete tunnel; }

std::uint64_t H1Stream::received_behind_upgrade() const noexcept { return tunnel_->read(); }
std::uint64_t H1Stream::sent_behind_upgrade() const noexcept { return tunnel_->written(); }

const context::Context& H1Stream::client_context() {
  Connection& c = connection_;
  Workspace& ws = *c.ws_;
  ClientContext& client = c.client();
  client.watch(ws.begin != ws.end);
  return client.context();
}

const context::Context& H1Stream::drain_context() const noexcept { return connection_.server_.drain_context(); }

net::Endpoint H1Stream::peer() const noexcept { return connection_.peer_.endpoint(); }

const net::TlsPeer* H1Stream::tls() const noexcept { return connection_.stream_->tls_peer(); }

std::uint64_t H1Stream::client_key() noexcept { return http::client_key(connection_.peer_.endpoint()); }

Trouble H1Stream::trouble() const noexcept {
  const Connection& c = connection_;
  const Workspace& ws = *c.ws_;
  return {.refused = refused(),
          .late = body_ && body_->timed_out,
          .unfinished = !body_done(),
          .lost = ws.output_lost,
          .client_gone =
              (ws.client != nullptr && static_cast<bool>(ws.client->context().err())) || c.stream_->is_shut_down(),
          .stopping = static_cast<bool>(c.server_.context().err())};
}

// ---------------------------------------------------------------------------------------------- the body

Reject H1Stream::expect_body(std::uint64_t most) noexcept {
  const std::uint64_t length = request_.content_length.value_or(0);
  BodyDecoder& decoder = body_->decoder;
  return decoder.start(request_.framing, length, {.body_size = most}) ? Reject::none : decoder.reason();
}

/// A FIN behind the body says something about this request once the body has been read.
void H1Stream::note_body_read() noexcept {
  Connection& c = connection_;
  Workspace& ws = *c.ws_;
  if (ws.client != nullptr) ws.client->note_more(ws.begin != ws.end);
}

Result<std::string_view> H1Stream::read_body(Deadline own) {
  if (!body_) return std::string_view();
  Connection& c = connection_;
  Workspace& ws = *c.ws_;
  if (body_->refused != Reject::none) return fail(std::errc::bad_message);
  if (body_->timed_out) return fail(std::errc::timed_out);
  while (!body_->decoder.done()) {
    if (ws.begin < ws.end) {
      const std::uint32_t before = body_->decoder.trailer_bytes();
      const BodyDecoder::Step step = body_->decoder.decode(ws.in + ws.begin, ws.end - ws.begin);
      if (body_->decoder.trailer_fields() != 0 && step.status != BodyDecoder::Status::refused) [[unlikely]]
        Trailers::keep(body_->trailers, {ws.in + ws.begin, step.consumed}, body_->decoder.trailer_bytes() - before);
      ws.begin += static_cast<std::uint32_t>(step.consumed);
      if (step.status == BodyDecoder::Status::data) return step.data;
      if (step.status == BodyDecoder::Status::refused) {
        body_->refused = body_->decoder.reason();
        metric::count(c.metrics().rejects[static_cast<std::size_t>(body_->refused)]);
        end_connection();
        return fail(std::errc::bad_message);
      }
      continue;
    }
    if (const std::error_code error = before_waiting()) return fail(error);
    const Result<std::size_t> n = receive_body(own);
    if (!n) {
      end_connection();
      return fail(n.error());
    }
    if (*n == 0) {
      end_connection();
      return fail(std::errc::connection_aborted);  // the client left in the middle of its message
    }
    ws.end += static_cast<std::uint32_t>(*n);
    // Asked when something has come: how it was before the wait says nothing.
    if (!body_->draining && !wait_for_memory(own)) {
      body_->refused = Reject::memory;
      metric::count(c.metrics().rejects[static_cast<std::size_t>(Reject::memory)]);
      // Without an answer: that would take memory, too, a thousand times at once.
      end_connection();
      const OutputGuard guard(shared());
      ws.output_lost = true;
      return fail(std::errc::not_enough_memory);
    }
  }
  body_->continue_settled.store(true, std::memory_order_relaxed);
  if (body_->trailers != nullptr) [[unlikely]]
    body_->trailers->index();
  note_body_read();
  return std::string_view();
}

/// What the client may be waiting for leaves first.
std::error_code H1Stream::before_waiting() noexcept {
  Connection& c = connection_;
  if (request_.expect_continue && !body_->continue_settled.load(std::memory_order_relaxed) && !committed()) {
    const OutputGuard guard(shared());
    if (!committed() && !body_->continue_settled.exchange(true, std::memory_order_relaxed)) {
      if (c.flush()) return std::make_error_code(std::errc::connection_reset);
      return c.send(kContinue);
    }
  }
  // Answers to earlier requests must not wait for this one's body, nor what was written of its own.
  const OutputGuard guard(shared(), std::try_to_lock);
  return guard && c.ws_->out_size != 0 ? c.flush() : std::error_code();
}

/// A body that comes in takes memory: more of the input buffer, what its handler makes of it. While there is no room no
/// more of it is read, which slows the client down, but what has been sent is charged all the same: so who has waited a
/// moment in vain is given up, for others to end. False: this one.
bool H1Stream::wait_for_memory(Deadline own) noexcept {
  static constexpr std::size_t kBoth = std::size_t{32} * 1024;  // a piece of the body, and as much of an answer to it
  static constexpr std::chrono::milliseconds kLongest{32};  // 63 in all: several looks of whoever watches the memory
  flow::Pressure* const pressure = site_.options().pressure;
  if (pressure == nullptr || pressure->may_grow(kBoth)) [[likely]]
    return true;
  for (std::chrono::milliseconds pause{1}; pause <= kLongest && monotonic_now() < own.ns(); pause *= 2) {
    (void)runtime::sleep_for(pause);
    if (pressure->may_grow(kBoth)) return true;
    if (connection_.stream_->is_shut_down()) return true;  // cut, which reading finds out
  }
  return false;
}

Result<std::size_t> H1Stream::receive_body(Deadline own) {
  Connection& c = connection_;
  Workspace& ws = *c.ws_;
  // Another fiber may have committed the answer since: then the request's deadline says nothing any more.
  if (!body_->draining && committed()) own = Deadline::never();
  // The head stays where it is; its body is read into the room behind it, always the same.
  ws.begin = ws.end = body_->room;
  const SiteOptions& options = site_.options();
  const std::int64_t begin = runtime::coarse_now();
  const std::int64_t grace = options.timeouts.grace.count();
  // Used up by the handler itself: nothing that the client can be blamed for.
  if (!own.is_never() && own.ns() <= begin) return fail(std::errc::timed_out);
  const Deadline progress = Deadline::after(begin, options.timeouts.body);
  const Deadline rate = body_->reads.limit(begin, options.body_rate, grace);
  const Deadline until = progress.earlier(rate).earlier(own);
  const Result<std::size_t> n =
      c.stream_->read_some({reinterpret_cast<std::byte*>(ws.in + ws.end), ws.in_capacity - ws.end}, until);
  body_->reads.note(n ? *n : 0, runtime::coarse_now() - begin);
  if (n || n.error() != std::errc::timed_out) return n;
  if (until.ns() == own.ns() && !body_->draining && committed()) return receive_body(Deadline::never());
  body_->timed_out = true;
  const ServerMetrics& metrics = c.metrics();
  metric::Counter* counter = until.ns() == rate.ns() ? metrics.body_rate : metrics.body_timeouts;
  if (until.ns() == own.ns()) counter = body_->draining ? nullptr : metrics.request_timeouts;
  metric::count(counter);
  return n;
}

/// Whether what is left of the body, if nobody wants it, would end the connection.
bool H1Stream::leaves_too_much() const noexcept {
  if (body_done()) return false;
  // A client that waits for 100 Continue and gets a final answer may send the body or not: the end is unknown.
  if (request_.expect_continue && !body_->continue_settled.load(std::memory_order_relaxed)) return true;
  return body_->refused != Reject::none || body_->timed_out || body_->decoder.remaining() > kDrainBytes;
}

bool H1Stream::all_read() const noexcept {
  const Connection& c = connection_;
  const Workspace& ws = *c.ws_;
  return request_.framing != Framing::length || body_->decoder.remaining() >= ws.end - ws.begin;
}

bool H1Stream::drain_body() noexcept {
  const std::uint64_t before = body_->decoder.received();
  const Deadline until = Deadline::at(runtime::coarse_now() + Connection::kLinger);
  bool bearable = !leaves_too_much();
  const bool counted = body_->timed_out || body_->decoder.reason() != Reject::none;
  bool left = false;
  body_->draining = true;
  while (bearable && !body_->decoder.done()) {
    const Result<std::string_view> piece = read_body(until);
    left = !piece && piece.error() != std::errc::timed_out;
    bearable = piece.has_value() && body_->decoder.received() - before <= kDrainBytes;
  }
  if (bearable) return true;
  end_connection();
  // A client that left, or was about to, has lost nothing.
  if (request_.keep_alive && !left && !counted && body_->refused == Reject::none)
    metric::count(connection_.metrics().closed_unread_body);
  return false;
}

HeaderView H1Stream::trailers() const noexcept {
  return body_ && body_->trailers != nullptr && body_->decoder.done() ? body_->trailers->view() : HeaderView();
}

}  // namespace fiberd::http
