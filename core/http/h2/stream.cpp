#include "core/http/h2/stream.hpp"

#include <algorithm>

#include "core/http/h1/connection.hpp"
#include "core/http/h2/tunnel.hpp"
#include "core/http/site/dispatch.hpp"
#include "core/http/site/refusal_log.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/trace_request.hpp"

namespace fiberd::http::h2 {

Stream::Stream(Session& session) noexcept : session_(session) {}
Stream::~Stream() = default;

/// It is over: memory that is kept for another request is what an ordinary one needs. Here, and not when that begins: a
/// client that has one more going on could have all the rest held.
void Stream::trim(bool with_room) noexcept {
  static constexpr std::size_t kKept = std::size_t{2} * 1024;
  for (std::string* const text : {&in_, &taking_, &lines_, &pending_, &trailer_text_, &head_.path_room()}) {
    text->clear();
    if (text->capacity() > kKept) text->shrink_to_fit();
  }
  head_.reset();
  trailers_.reset();
  if (!with_room) room_.reset();
}

/// Ready for another request.
void Stream::reset(std::int32_t id) noexcept {
  id_ = id;
  trailer_nvs_.clear();
  direct_ = {};
  site_.reset();
  client_.reset();
  tunnel_.reset();
  reads_.reset();
  writes_.reset();
  refused_ = Reject::none;
  most_ = UINT64_MAX;
  received_ = moved_ = sent_head_ = sent_body_ = end_at_ = 0;
  pending_at_ = 0;
  head_bytes_ = 0;
  head_at_ = 0;
  status_ = interim_ = 0;
  close_code_ = 0;
  head_refused_ = head_done_ = in_over_ = whole_ = cut_ = timed_out_ = continue_settled_ = false;
  no_body_ = committed_ = submitted_ = eof_ = deferred_ = sent_ = false;
  moved_before_ = 0;
  looked_at_ = progress_at_ = 0;
  detached_ = false;
  open_ = running_ = unanswered_ = closed_ = upgraded_ = reset_by_client_ = false;
}

// ---------------------------------------------------------------------------------------------- its fiber

void Stream::serve() noexcept {
  Session& session = session_;
  Exchange& ex = exchange_.emplace(*this, request_, *site_);
  dispatch_.emplace(*site_, ex, session.server_.metrics_);
  std::error_code error;
  if (head_refused_) {
    refuse(ex);
    error = ex.ended() ? std::error_code() : std::make_error_code(std::errc::connection_aborted);
  } else {
    std::string& room = head_.path_room();
    try {
      room.resize(request_.path.size());
      error = dispatch_->run(room, begun_at_);
    } catch (const std::bad_alloc&) {
      error = std::make_error_code(std::errc::not_enough_memory);
    }
  }
  runtime::trace::end_request(*runtime::Machine::current_machine(), ex.status(),
                              static_cast<std::uint64_t>(std::max<std::int64_t>(runtime::coarse_now() - begun_at_, 0)));
  Held held(session.mutex_);
  if (client_ != nullptr) client_->cancel();
  if (detach(held, !error)) return;
  settle(held, !error);
  account();
  if (sent_ && !in_over_) drop_rest(held);
  if (!sent_) {
    // What its fiber has held is gone: nothing more of it may be sent.
    direct_ = {};
    eof_ = false;
  }
  finish();
}

/// An answer that is complete needs no fiber to be sent: what is left of it is the stream's own, or the site's, and the
/// session knows when it has left, or when to give up. So as many stacks are in use as handlers are at work, and not as
/// answers are on their way.
bool Stream::detach(Held& /*held*/, bool ended) noexcept {
  if (!ended || upgraded_ || !eof_ || !in_over_) return false;
  detached_ = true;
  looked_at_ = progress_at_ = runtime::coarse_now();
  moved_before_ = moved_;
  if (sent_ || session_.lost_ || (closed_ && end_at_ == 0))
    finish();
  else
    session_.rouse();  // to look at the clock
  return true;
}

void Stream::finish() noexcept {
  Session& session = session_;
  if (exchange_ && detached_) account();
  dispatch_.reset();
  exchange_.reset();
  client_.reset();
  tunnel_.reset();
  if (!sent_) {
    direct_ = {};
    eof_ = false;
  }
  site_.reset();
  running_ = detached_ = false;
  session.answered(*this);
  if (--session.tasks_ == 0) session.rouse();
  if (!open_) session.stream_over(*this);
  session.wake_main();
}

void Stream::look_at_clock(std::int64_t now) noexcept {
  if (!detached_ || end_at_ != 0) return;
  const SiteOptions& o = site_->options();
  if (moved_ != moved_before_) {
    moved_before_ = moved_;
    progress_at_ = now;
  }
  writes_.note(0, std::max<std::int64_t>(now - looked_at_, 0));
  looked_at_ = now;
  const bool slow = writes_.spent(o.write_rate, o.timeouts.grace.count());
  if (!slow && (now < Deadline::after(progress_at_, o.timeouts.write).ns() || session_.out_size_ != 0)) return;
  metric::count(slow ? session_.server_.metrics_.write_rate : session_.server_.metrics_.write_timeouts);
  reset_stream(Code::cancel);
  progress_at_ = now;
  writes_.reset();
}

/// A head that was understood, and says what is not served.
void Stream::refuse(Exchange& ex) noexcept {
  metric::count(session_.server_.metrics_.rejects[static_cast<std::size_t>(refused_)]);
  log_refusal(refused_, ex);
  if (metric::StatusCounters* const counters = site_->options().metrics.unrouted; counters != nullptr)
    counters->begin();
  try {
    (void)ex.respond_error(status_of(refused_));
  } catch (const std::bad_alloc&) {
    reset_stream(Code::internal_error);
  }
}

/// The handler is over, and its answer's end is waited for, or its stream ended.
void Stream::settle(Held& held, bool ended) noexcept {
  if (upgraded_ && !eof_ && !is_gone()) {
    eof_ = true;
    submit();
  }
  if (ended && !is_gone()) (void)wait_for_output(held, true);
  if (is_gone()) return;
  if (!sent_) reset_stream(ended ? Code::cancel : Code::internal_error);
}

/// The rest of a body that nobody wants. A little of it is thrown away, and behind that the window stays shut: there
/// are clients that forget an answer when its stream is reset right behind it, while they are sending. Who has not
/// ended it by then is told to stop (RFC 9113 section 8.1).
void Stream::drop_rest(Held& held) noexcept {
  static constexpr std::size_t kMost = std::size_t{256} * 1024;
  const Deadline until = Deadline::in(std::chrono::seconds(1));
  std::size_t dropped = 0;
  while (!in_over_ && !is_gone() && !session_.client_ended_ && session_.tasks_ <= session_.max_streams_) {
    if (!in_.empty()) {
      const bool opens = dropped < kMost;
      dropped += in_.size();
      (void)(opens ? nghttp2_session_consume(session_.ng_, id_, in_.size())
                   : nghttp2_session_consume_connection(session_.ng_, in_.size()));
      in_.clear();
      session_.schedule_write();
      continue;
    }
    if (wait(held, reader_, runtime::WaitReason::io_read, until) != runtime::Wake::ready && in_.empty()) break;
  }
  if (!in_over_ && !is_gone()) reset_stream(Code::no_error);
}

runtime::Wake Stream::wait(Held& held, runtime::Ticket& slot, runtime::WaitReason reason, Deadline until,
                           runtime::Cancellation* cancellation) noexcept {
  const runtime::Ticket ticket = runtime::prepare_park(reason);
  slot = ticket;
  held.unlock();
  const runtime::Wake wake = runtime::park_until(ticket, until, cancellation);
  held.lock();
  slot = {};
  return wake;
}

void Stream::wake_reader() noexcept {
  if (reader_) (void)runtime::wake(reader_);
}

void Stream::wake_writer() noexcept {
  if (writer_) (void)runtime::wake(writer_);
}

std::error_code Stream::gone_error() const noexcept {
  if (reset_by_client_) return reset_by_client(code_from(close_code_));
  return std::make_error_code(session_.client_ended_ ? std::errc::connection_aborted : std::errc::connection_reset);
}

void Stream::reset_stream(Code code) noexcept {
  if (!open_) return;
  (void)nghttp2_submit_rst_stream(session_.ng_, NGHTTP2_FLAG_NONE, id_, static_cast<std::uint32_t>(code));
  session_.schedule_write();
}

// ---------------------------------------------------------------------------------------------- who asks

const context::Context& Stream::client_context() {
  const Held held(session_.mutex_);
  if (client_ == nullptr) {
    client_ = std::make_unique<context::Cancelable>(context::with_cancel(session_.server_.context()));
    if (is_gone())
      client_->cancel(gone_error());
    else if (session_.client_ended_ && session_.server_.half_close_cancels_)
      client_->cancel(std::make_error_code(std::errc::connection_aborted));
  }
  return client_->context;
}

void Stream::cancel_context(std::error_code cause) noexcept {
  if (client_ != nullptr) client_->cancel(cause);
}

net::Endpoint Stream::peer() const noexcept { return session_.connection_.peer_.endpoint(); }
std::uint64_t Stream::client_key() noexcept { return http::client_key(session_.connection_.peer_.endpoint()); }

Trouble Stream::trouble() const noexcept {
  const Held held(session_.mutex_);
  return {.refused = refused_,
          .late = timed_out_,
          .unfinished = !in_over_ || !in_.empty(),
          .lost = is_gone(),
          .client_gone = closed_ || session_.lost_ || (client_ != nullptr && client_->context.done()),
          .stopping = static_cast<bool>(session_.server_.context().err())};
}

// ---------------------------------------------------------------------------------------------- the body

Reject Stream::expect_body(std::uint64_t most) noexcept {
  most_ = most;
  if (request_.content_length.value_or(0) <= most) return Reject::none;
  const Held held(session_.mutex_);
  refused_ = Reject::body_too_large;
  return refused_;
}

Result<std::string_view> Stream::read_body(Deadline own) {
  if (!request_.has_body()) return std::string_view();
  Held held(session_.mutex_);
  for (;;) {
    if (refused_ != Reject::none) return fail(std::errc::bad_message);
    if (timed_out_) return fail(std::errc::timed_out);
    if (!in_.empty() && (whole_ || !is_gone())) {
      taking_.swap(in_);
      in_.clear();
      received_ += taking_.size();
      if (!whole_) (void)nghttp2_session_consume(session_.ng_, id_, taking_.size());
      session_.schedule_write();
      if (received_ <= most_) return std::string_view(taking_);
      refused_ = Reject::body_too_large;
      metric::count(session_.server_.metrics_.rejects[static_cast<std::size_t>(refused_)]);
      continue;
    }
    if (in_over_ && in_.empty() && !cut_) {
      continue_settled_ = true;
      return std::string_view();
    }
    if (is_gone()) return fail(gone_error());
    if (session_.client_ended_) return fail(std::errc::connection_aborted);
    if (request_.expect_continue && !continue_settled_ && !committed_) {
      continue_settled_ = true;
      send_continue();
    }
    if (submitted_ || committed_) submit();  // what was written leaves before the client is waited for
    if (const Result<void> more = receive(held, own); !more) return fail(more.error());
  }
}

/// Waits until something of the body has come, or its stream has changed.
Result<void> Stream::receive(Held& held, Deadline own) noexcept {
  if (committed_) own = Deadline::never();
  const SiteOptions& o = site_->options();
  const std::int64_t begin = runtime::coarse_now();
  const std::int64_t grace = o.timeouts.grace.count();
  if (!own.is_never() && own.ns() <= begin) return fail(std::errc::timed_out);
  const Deadline rate = reads_.limit(begin, o.body_rate, grace);
  const Deadline until = Deadline::after(begin, o.timeouts.body).earlier(rate).earlier(own);
  const runtime::Wake wake = wait(held, reader_, runtime::WaitReason::io_read, until);
  reads_.note(in_.size(), runtime::coarse_now() - begin);
  if (wake != runtime::Wake::timeout || !in_.empty() || in_over_ || is_gone())
    return wait_for_memory(held, own) ? Result<void>() : fail(std::errc::not_enough_memory);
  if (until.ns() == own.ns() && committed_) return {};
  timed_out_ = true;
  const ServerMetrics& m = session_.server_.metrics_;
  metric::count(until.ns() == own.ns() ? m.request_timeouts : until.ns() == rate.ns() ? m.body_rate : m.body_timeouts);
  return fail(std::errc::timed_out);
}

/// As H1Stream's: what has come is not taken, and its window not opened, while there is no room for more.
bool Stream::wait_for_memory(Held& held, Deadline own) noexcept {
  static constexpr std::size_t kBoth = std::size_t{32} * 1024;
  static constexpr std::chrono::milliseconds kLongest{32};
  flow::Pressure* const pressure = site_->options().pressure;
  if (pressure == nullptr || pressure->may_grow(kBoth)) [[likely]]
    return true;
  for (std::chrono::milliseconds pause{1}; pause <= kLongest && monotonic_now() < own.ns(); pause *= 2) {
    held.unlock();
    (void)runtime::sleep_for(pause);
    held.lock();
    if (is_gone() || pressure->may_grow(kBoth)) return true;
  }
  refused_ = Reject::memory;
  metric::count(session_.server_.metrics_.rejects[static_cast<std::size_t>(refused_)]);
  return false;
}

HeaderView Stream::trailers() const noexcept {
  const Held held(session_.mutex_);
  return in_over_ ? trailers_.view() : HeaderView();
}

}  // namespace fiberd::http::h2
