#include "core/http/h1/stream.hpp"

#include "core/http/connection.hpp"
#include "core/http/h1/output_guard.hpp"
#include "core/http/h1/trailers.hpp"
#include "core/http/h1/tunnel.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

H1Stream::H1Stream(Connection& connection, const WireRequest& request, const Site& site, bool keep_alive) noexcept
    : connection_(connection),
      request_(request),
      site_(site),
      body_room_(connection.begin_),
      shared_(request.has_body()),
      keep_alive_(keep_alive) {}

H1Stream::~H1Stream() = default;

const context::Context& H1Stream::client_context() {
  Connection& c = connection_;
  ClientContext& client = c.client();
  client.watch(c.begin_ != c.end_);
  return client.context();
}

net::Endpoint H1Stream::peer() const noexcept { return connection_.peer_.endpoint(); }

std::uint64_t H1Stream::client_key() noexcept { return connection_.client_key(); }

Trouble H1Stream::trouble() const noexcept {
  const Connection& c = connection_;
  return {.refused = refused_,
          .late = body_timed_out_,
          .unfinished = !decoder_.done(),
          .lost = c.output_lost_,
          .client_gone = c.client_ != nullptr && static_cast<bool>(c.client_->context().err()),
          .stopping = static_cast<bool>(c.server_.context().err())};
}

// ---------------------------------------------------------------------------------------------- the body

Reject H1Stream::expect_body(std::uint64_t most) noexcept {
  const std::uint64_t length = request_.content_length.value_or(0);
  return decoder_.start(request_.framing, length, {.body_size = most}) ? Reject::none : decoder_.reason();
}

/// A FIN behind the body says something about this request once the body has been read.
void H1Stream::note_body_read() noexcept {
  Connection& c = connection_;
  if (c.client_ != nullptr) c.client_->note_more(c.begin_ != c.end_);
}

Result<std::string_view> H1Stream::read_body(Deadline own) {
  Connection& c = connection_;
  const Workspace& ws = *c.ws_;
  if (refused_ != Reject::none) return fail(std::errc::bad_message);
  if (body_timed_out_) return fail(std::errc::timed_out);
  while (!decoder_.done()) {
    if (c.begin_ < c.end_) {
      const std::uint32_t before = decoder_.trailer_bytes();
      const BodyDecoder::Step step = decoder_.decode(ws.in + c.begin_, c.end_ - c.begin_);
      if (decoder_.trailer_fields() != 0 && step.status != BodyDecoder::Status::refused) [[unlikely]]
        Trailers::keep(trailers_, {ws.in + c.begin_, step.consumed}, decoder_.trailer_bytes() - before);
      c.begin_ += static_cast<std::uint32_t>(step.consumed);
      if (step.status == BodyDecoder::Status::data) return step.data;
      if (step.status == BodyDecoder::Status::refused) {
        refused_ = decoder_.reason();
        metric::count(c.metrics().rejects[static_cast<std::size_t>(refused_)]);
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
    c.end_ += static_cast<std::uint32_t>(*n);
  }
  continue_settled_.store(true, std::memory_order_relaxed);
  if (trailers_ != nullptr) [[unlikely]]
    trailers_->index();
  note_body_read();
  return std::string_view();
}

/// What the client may be waiting for leaves first.
std::error_code H1Stream::before_waiting() noexcept {
  Connection& c = connection_;
  if (request_.expect_continue && !continue_settled_.load(std::memory_order_relaxed) && !committed()) {
    const OutputGuard guard(output_, shared_);
    if (!committed() && !continue_settled_.exchange(true, std::memory_order_relaxed)) {
      if (c.flush()) return std::make_error_code(std::errc::connection_reset);
      return c.send(kContinue);
    }
  }
  // Answers to earlier requests must not wait for this one's body, nor what was written of its own.
  const OutputGuard guard(output_, shared_, std::try_to_lock);
  return guard && c.out_size_ != 0 ? c.flush() : std::error_code();
}

Result<std::size_t> H1Stream::receive_body(Deadline own) {
  Connection& c = connection_;
  // The head stays where it is; its body is read into the room behind it, always the same.
  c.begin_ = c.end_ = body_room_;
  const SiteOptions& options = site_.options();
  const std::int64_t begin = runtime::coarse_now();
  const std::int64_t grace = options.timeouts.grace.count();
  // Used up by the handler itself: nothing that the client can be blamed for.
  if (!own.is_never() && own.ns() <= begin) return fail(std::errc::timed_out);
  const Deadline progress = Deadline::after(begin, options.timeouts.body);
  const Deadline rate = reads_.limit(begin, options.body_rate, grace);
  const Deadline until = progress.earlier(rate).earlier(own);
  const Result<std::size_t> n =
      c.stream_->read_some({reinterpret_cast<std::byte*>(c.ws_->in + c.end_), c.ws_->in_capacity - c.end_}, until);
  reads_.note(n ? *n : 0, runtime::coarse_now() - begin);
  if (n || n.error() != std::errc::timed_out) return n;
  body_timed_out_ = true;
  const ServerMetrics& metrics = c.metrics();
  metric::Counter* counter = until.ns() == rate.ns() ? metrics.body_rate : metrics.body_timeouts;
  if (until.ns() == own.ns()) counter = draining_ ? nullptr : metrics.request_timeouts;
  metric::count(counter);
  return n;
}

/// Whether what is left of the body, if nobody wants it, would end the connection.
bool H1Stream::leaves_too_much() const noexcept {
  if (decoder_.done()) return false;
  // A client that waits for 100 Continue and gets a final answer may send the body or not: the end is unknown.
  if (request_.expect_continue && !continue_settled_.load(std::memory_order_relaxed)) return true;
  return refused_ != Reject::none || body_timed_out_ || decoder_.remaining() > kDrainBytes;
}

bool H1Stream::all_read() const noexcept {
  const Connection& c = connection_;
  if (decoder_.done()) [[likely]]
    return c.begin_ == c.end_;
  return request_.framing != Framing::length || decoder_.remaining() >= c.end_ - c.begin_;
}

bool H1Stream::finish_body() noexcept {
  if (decoder_.done()) return true;
  const std::uint64_t before = decoder_.received();
  const Deadline until = Deadline::at(runtime::coarse_now() + Connection::kLinger);
  bool bearable = !leaves_too_much();
  const bool counted = body_timed_out_ || decoder_.reason() != Reject::none;
  bool left = false;
  draining_ = true;
  while (bearable && !decoder_.done()) {
    const Result<std::string_view> piece = read_body(until);
    left = !piece && piece.error() != std::errc::timed_out;
    bearable = piece.has_value() && decoder_.received() - before <= kDrainBytes;
  }
  if (bearable) return true;
  end_connection();
  // A client that left, or was about to, has lost nothing.
  if (request_.keep_alive && !left && !counted && refused_ == Reject::none)
    metric::count(connection_.metrics().closed_unread_body);
  return false;
}

HeaderView H1Stream::trailers() const noexcept {
  return trailers_ != nullptr && decoder_.done() ? trailers_->view() : HeaderView();
}

}  // namespace fiberd::http
