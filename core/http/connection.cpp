// The life of a connection.
//
//   accepted ──start──▶ active ──go_idle──▶ idle ──bytes──▶ active … ──▶ closed
//                                             ├─deadline──▶ closed
//                                             └─stop──▶ parted ──the client's end, deadline──▶ closed
//
// Active: a fiber runs run(); it owns the Connection and a Workspace. Idle: nobody runs; the Connection is what is left
// (no stack, no buffer), and whoever wins the descriptor's poll word owns it next: the Poller with bytes, the idle
// timer, or stop(). Nothing of the object may be touched after go_idle() succeeded.
//
// One read, one send: all complete requests that a read brought are answered into the output buffer, and it is sent
// when no further complete request is there. After a short read nothing more is in the socket, so the connection goes
// idle without asking the kernel again; bytes that arrive in between make a new edge, which go_idle() sees.
//
// The buffer: [head][body being read] …; the head stays in place while its handler runs, since the request's views
// point into it; the body is read behind it, piece by piece into the same room; what follows the body is the next
// message.
//
// What idle connections wait for, and what a stop does to them: connection_idle.cpp.
//
// Doubt about a message's end is answered once, with Connection: close; then the client's bytes are discarded for a
// bounded time (linger) so that a reset does not destroy the answer before it is read.
#include "core/http/connection.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <exception>
#include <string>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"
#include "core/base/random.hpp"
#include "core/http/host.hpp"
#include "core/http/path.hpp"
#include "core/http/slash_redirect.hpp"
#include "core/runtime/recover.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

static constexpr unsigned kTurn = 32;  // requests of a pipeline before others have their turn
// How long, and how much, is read for nothing behind the last answer.
static constexpr std::int64_t kLinger = 5'000'000'000;
static constexpr std::uint32_t kLingerBody = 64 * 1024 * 1024;
static constexpr std::uint32_t kLingerHead = 256 * 1024;  // more is no mistake but an attack
static constexpr std::size_t kLeastBodyRoom = std::size_t{8} * 1024;

/// 411: content whose length is not told, or none where the method is about content (RFC 9110 section 15.5.12).
static bool lacks_length(const Request& request) noexcept {
  if (request.framing == Framing::chunked) return true;
  const Method m = request.method;
  return request.framing == Framing::none && (m == Method::post || m == Method::put || m == Method::patch);
}

static std::span<std::byte> bytes(char* data, std::size_t size) noexcept {
  return {reinterpret_cast<std::byte*>(data), size};
}
// ---------------------------------------------------------------------------------------------- states

void Connection::set_lifetime() noexcept {
  const ServerOptions& o = server_.options_;
  const std::int64_t now = runtime::coarse_now();
  head_deadline_ = time_after(now, o.timeouts.header);
  if (o.timeouts.age.count() == 0 && o.requests == 0) return;
  // Clients that came together shall not come back together.
  Random random(reinterpret_cast<std::uintptr_t>(this) ^ static_cast<std::uint64_t>(now));
  const double factor = 0.9 + random.below(1'000'000) * 0.2e-6;
  if (o.timeouts.age.count() != 0)
    retire_at_ = time_after(now, std::chrono::nanoseconds(static_cast<std::int64_t>(
                                     std::min(static_cast<double>(o.timeouts.age.count()) * factor, 9e18))));
  if (o.requests != 0)
    most_requests_ = static_cast<std::uint32_t>(std::max<std::int64_t>(
        1, std::min<std::int64_t>(UINT32_MAX, std::llround(static_cast<double>(o.requests) * factor))));
}

void Connection::count_retired() const noexcept {
  const ServerMetrics& m = server_.options_.metrics;
  count(requests_ >= most_requests_ ? m.closed_requests : m.closed_age);
}

void Connection::start(runtime::FiberName fiber_name) noexcept {
  const fiber::StackClaim claim = server_.options_.claim;
  const Result<void> spawned = claim == fiber::StackClaim::ordinary
                                   ? runtime::spawn(fiber_name, [this] { run(); })
                                   : runtime::spawn_reserved(claim, fiber_name, [this] { run(); });
  if (spawned) return;
  count(server_.options_.metrics.spawn_refused);
  finish();
}

void Connection::finish() noexcept {
  server_.unlist(*this);  // first: stop() asks the streams of those in its list
  client_.reset();        // before the descriptor that it watches
  stream_.close();
  if (on_closed_ != nullptr) on_closed_(closed_argument_);
  server_.destroy(*this);
}

ClientContext& Connection::client() {
  if (client_ == nullptr)
    client_ = std::make_unique<ClientContext>(server_.context(), stream_, server_.options_.half_close_cancels);
  return *client_;
}

/// What the connection needs while it is active. False: memory is out, and the connection is closed.
bool Connection::take_workspace() noexcept {
  ws_ = server_.workspaces_.acquire();
  if (ws_ == nullptr) {
    count(server_.options_.metrics.spawn_refused);
    finish();
    return false;
  }
  stream_.note_readable();
  ws_->parser.reset(after_empty_line_);
  ws_->writes.reset();
  return true;
}

void Connection::run() noexcept {
  if (!take_workspace()) return;
  metric::Gauge* const active = server_.options_.metrics.active;
  if (active != nullptr) active->add();
  begin_ = end_ = out_size_ = 0;
  output_lost_ = false;
  linger_bytes_ = kLingerHead;
  Step step = parted_ ? Step::linger : read_more();
  unsigned turn = kTurn;
  while (step == Step::go_on) {
    const Verdict verdict = ws_->parser.parse(ws_->in + begin_, end_ - begin_);
    if (verdict == Verdict::complete) {
      step = serve_request();
      ws_->parser.reset();
      if (--turn == 0) {
        turn = kTurn;
        runtime::yield();
      }
    } else if (verdict == Verdict::refused) {
      step = refuse(ws_->parser.reason());
      ws_->parser.reset();
    } else {
      step = flush() ? Step::close : read_more();
    }
  }
  if (active != nullptr) active->sub();
  if (step == Step::gone) return;
  (void)flush();
  // Nothing of the client is in flight as far as we know: then an orderly close loses nothing.
  if (step == Step::done && (end_ != begin_ || !stream_.drained())) step = Step::linger;
  if (step == Step::linger && !output_lost_) linger();
  server_.workspaces_.release(ws_);
  ws_ = nullptr;
  finish();
}

/// No complete head is in the buffer, and no answer waits for its send: reads, or goes idle.
Connection::Step Connection::read_more() noexcept {
  if (begin_ != 0) {
    std::memmove(ws_->in, ws_->in + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
  }
  if (end_ == 2 && ws_->parser.only_empty_line()) {
    // Left over from the request before (RFC 9112 section 2.2), and no reason to hold a fiber or to send a 408.
    after_empty_line_ = true;
    end_ = 0;
    ws_->parser.reset(true);
  }
  if (end_ == 0) {
    if (requests_ != 0) head_deadline_ = 0;
    if (stream_.drained() && go_idle()) return Step::gone;
  }
  for (;;) {
    Result<std::size_t> n = stream_.try_read(bytes(ws_->in + end_, ws_->in_capacity - end_));
    if (!n && n.error() == std::errc::operation_would_block) {
      if (end_ == 0) {
        if (stream_.descriptor()->is_shut_down()) return Step::close;  // cut by a stop
        if (go_idle()) return Step::gone;
        continue;
      }
      n = read_rest_of_head();
      if (!n && n.error() == std::errc::timed_out) {
        count(server_.options_.metrics.header_timeouts);
        return refuse(408);
      }
    }
    if (!n || *n == 0) return Step::close;
    end_ += static_cast<std::uint32_t>(*n);
    return Step::go_on;
  }
}

Result<std::size_t> Connection::read_rest_of_head() noexcept {
  const std::int64_t now = runtime::coarse_now();
  if (head_deadline_ == 0) head_deadline_ = time_after(now, server_.options_.timeouts.header);
  waiting_since_.store(encode(Waiting::for_head, head_deadline_ - server_.options_.timeouts.header.count()),
                       std::memory_order_release);
  Result<std::size_t> n =
      stream_.read_some(bytes(ws_->in + end_, ws_->in_capacity - end_), Deadline::at(head_deadline_));
  // Bytes that came when the connection had been taken already are too late.
  if (waiting_since_.exchange(0, std::memory_order_acq_rel) == 0) return fail(std::errc::operation_canceled);
  return n;
}

// ---------------------------------------------------------------------------------------------- requests

/// What the request's path, host, method and length say: why it is refused, or which route serves it (nullptr: `match`
/// tells what else there is to say). Starts the body's decoder either way.
[[gnu::always_inline]] inline Reject Connection::find_route(Exchange& ex, RouteMatch& match,
                                                            const Route*& route) noexcept {
  const ServerOptions& o = server_.options_;
  const Request& request = ex.request_;
  NormalisedPath path{Reject::none, request.path};
  if (request.form == TargetForm::origin || request.form == TargetForm::absolute)
    path = normalise_path(request.path, {ws_->path, o.head.target_size});
  ex.path_ = path.path;
  Reject reason = path.reason;
  if (reason == Reject::none && !serves_host(o.hosts, request.host) &&
      !(o.address_hosts && is_address_host(request.host)))
    reason = Reject::misdirected;
  if (reason == Reject::none) {
    match = server_.router_.match(request.method, request.host, path.path);
    if (match.kind == RouteMatch::Kind::route) route = &server_.routes_[match.index];
    if (match.kind == RouteMatch::Kind::not_implemented) reason = Reject::unknown_method;
    if (match.kind == RouteMatch::Kind::method_not_allowed) reason = Reject::method_not_allowed;
  }
  const std::uint64_t body_limit = route != nullptr && route->body_size ? *route->body_size : o.body_size;
  const bool body_fits = ex.decoder_.start(request.framing, request.content_length, {.body_size = body_limit});
  if (!body_fits) {
    // An error of the request itself is told first, but what follows it cannot be had.
    ex.keep_alive_ = false;
    if (reason == Reject::none) reason = ex.decoder_.reason();
  }
  if (reason == Reject::none && route != nullptr && route->require_length && lacks_length(request))
    reason = Reject::length_required;
  return reason;
}

Connection::Step Connection::serve_request() noexcept {
  // The clock is read once a request, by account(): this one began when the Poller brought it or the one before ended.
  const std::int64_t begin = std::max(runtime::coarse_now(), ws_->clock);
  Request request = ws_->parser.request(ws_->in + begin_);
  if (request.framing != Framing::none && ws_->in_capacity - begin_ - ws_->parser.consumed() < kLeastBodyRoom) {
    // Deep in a pipeline: there must be room behind the head, which stays where it is from now on.
    // What the log is to be told of those before it lies there, too.
    if (ws_->unsent_count != 0) (void)flush();
    std::memmove(ws_->in, ws_->in + begin_, end_ - begin_);
    end_ -= begin_;
    begin_ = 0;
    request = ws_->parser.request(ws_->in);
  }
  begin_ += static_cast<std::uint32_t>(ws_->parser.consumed());
  head_deadline_ = 0;
  after_empty_line_ = false;
  ++requests_;

  Exchange ex(*this, request);
  ex.body_room_ = begin_;
  ex.head_only_ = request.method == Method::head;
  ex.keep_alive_ = request.keep_alive && may_live_on(begin);
  ws_->writes.reset();
  RouteMatch match;
  const Route* route = nullptr;
  std::error_code error;
  const Reject reason = find_route(ex, match, route);
  if (reason != Reject::none) {
    count(server_.options_.metrics.rejects[static_cast<std::size_t>(reason)]);
    error = answer_refused(ex, reason, match);
  } else if (route == nullptr) {
    error = server_.options_.gate == nullptr ? answer_unrouted(ex, match) : answer_unrouted_gated(ex, match);
  } else {
    ex.rest_ = match.rest;
    ex.exact_route_ = match.exact;
    ex.deadline_ =
        Deadline::after(begin, route->request_timeout ? *route->request_timeout : server_.options_.timeouts.request);
    if (!route->gated) [[likely]]
      call_handler(ex, *route);
    else
      error = serve_gated(ex, *route);
    if (!error && !ex.ended_) error = std::make_error_code(std::errc::connection_aborted);
  }
  // Before it is counted what it was is sent, and what the client still sends is no part of how long it took. Where
  // another request is here already both leave together.
  if (all_read(ex)) (void)flush();
  account(ex, route, begin);
  const bool body_done = !error && finish_body(ex);
  if (output_lost_) return Step::close;
  if (!body_done) linger_bytes_ = kLingerBody;
  // A body that was refused in the middle of an answer: the client may be sending still.
  if (error) return ex.refused_ != Reject::none ? Step::linger : Step::close;
  if (body_done && ex.keep_alive_) return Step::go_on;
  // Whoever did not ask for the end may have sent more than we have seen.
  return body_done && !request.keep_alive ? Step::done : Step::linger;
}

/// Nothing behind the request has been read yet.
bool Connection::all_read(const Exchange& ex) const noexcept {
  if (ex.decoder_.done()) [[likely]]
    return begin_ == end_;
  return ex.request_.framing != Framing::length || ex.decoder_.remaining() >= end_ - begin_;
}

std::error_code Connection::answer_refused(Exchange& ex, Reject reason, const RouteMatch& match) noexcept {
  switch (reason) {
    // These were understood, and the connection can go on.
    case Reject::misdirected:
    case Reject::length_required: break;
    case Reject::method_not_allowed: {
      const AllowValue allow(match.allow);
      const Field field{"Allow", allow.text()};
      return error_of(ex.respond_error(405, {&field, 1}));
    }
    // What an unknown method means for the message's content nobody knows (as CONNECT shows).
    default: ex.keep_alive_ = false;
  }
  return error_of(ex.respond_error(status_of(reason)));
}

/// Whether an error that a handler returned is its own failure. What the client, the request's deadline or a stop
/// brought about is counted where it was found.
bool Connection::is_handlers_own(const Exchange& ex, std::error_code error) const noexcept {
  if (ex.refused_ != Reject::none || (ex.body_timed_out_ && error == std::errc::timed_out) || output_lost_)
    return false;
  if (error == std::errc::connection_aborted && !ex.decoder_.done()) return false;  // the body's end, or the client's
  if (server_.context().err()) return false;
  return client_ == nullptr || !client_->context().err();
}

/// The request's own deadline has ended it, not one that the handler met elsewhere.
bool Connection::is_late(const Exchange& ex, std::error_code error) noexcept {
  return error == std::errc::timed_out && !ex.deadline_.is_never() && ex.deadline_.ns() <= monotonic_now();
}

/// Runs the handler and sees to it that a head was committed and the answer ended; else the connection must close.
void Connection::call_handler(Exchange& ex, const Route& route) noexcept {
  std::error_code error;
  bool panicked = false;
  try {
    error = error_of(route.handler->serve(ex));
  } catch (...) {
    panicked = true;
    const runtime::Recovered thrown(std::current_exception());
    try {
      log(LogLevel::error,
          "handler of " + route.spec.path + " threw: " + thrown.what() + "; thrown at:" + thrown.trace());
    } catch (...) {
      log(LogLevel::error, "a handler threw, and memory to describe it is out");
    }
  }
  if (panicked) count(server_.options_.metrics.panics);
  // Decided once: the clock goes on.
  const bool late = error && is_late(ex, error);
  const bool own = error && !late && is_handlers_own(ex, error);
  if (own) log_failure(route, error);
  ex.end_context();
  if (ex.ended_ || output_lost_) return;
  if (ex.committed()) {
    // The client must see that the body is incomplete: no last chunk, and the connection closes.
    ex.keep_alive_ = false;
    if (!panicked && !error) report_bug("a handler did not end its answer");
    if (panicked || !error || own || late) count(server_.options_.metrics.closed_truncated);
    return;
  }
  (void)ex.respond_error(panicked ? 500 : status_of_failure(ex, error, late));
}

void Connection::log_failure(const Route& route, std::error_code error) noexcept {
  try {
    log(LogLevel::error, "handler of " + route.spec.path + " failed: " + error.message());
  } catch (...) {
    log(LogLevel::error, "a handler failed, and memory to describe it is out");
  }
}

/// For a handler that returned without an answer.
unsigned Connection::status_of_failure(Exchange& ex, std::error_code error, bool late) noexcept {
  if (!error) {
    report_bug(ex.begun_ ? "a handler did not end its answer" : "a handler returned without an answer");
    return 500;
  }
  ex.keep_alive_ = false;
  if (ex.refused_ != Reject::none) return status_of(ex.refused_);
  if (ex.body_timed_out_) return error == std::errc::timed_out ? 408 : 500;
  if (late) {
    count(server_.options_.metrics.request_timeouts);  // the handler gave up at its deadline
    return 503;
  }
  // The body ended before its length: the client closed, or half-closed and may still read why.
  if (error == std::errc::connection_aborted && !ex.decoder_.done()) return 400;
  // Neither another's deadline nor the stop's is the request's fault: it may be asked again.
  return error == std::errc::timed_out || server_.context().err() ? 503 : 500;
}

std::error_code Connection::answer_unrouted(Exchange& ex, const RouteMatch& match) noexcept {
  if (match.kind == RouteMatch::Kind::add_slash) return error_of(redirect_to_slash(ex));
  if (match.kind != RouteMatch::Kind::options) return error_of(ex.respond_error(404));
  const AllowValue allow(match.allow);
  const Field field{"Allow", allow.text()};
  return error_of(ex.respond(204, {}, {}, {&field, 1}));
}

/// The head cannot be understood: there is no request, and where the next one begins nobody knows.
Connection::Step Connection::refuse(Reject reason) noexcept {
  count(server_.options_.metrics.rejects[static_cast<std::size_t>(reason)]);
  return refuse(status_of(reason));
}

Connection::Step Connection::refuse(unsigned status) noexcept {
  const Request request = ws_->parser.partial_request(ws_->in + begin_);
  Exchange ex(*this, request);
  ex.keep_alive_ = false;
  ex.head_only_ = request.method == Method::head;
  const std::int64_t begin = monotonic_now();
  const std::error_code error = error_of(ex.respond_error(status));
  (void)flush();
  account(ex, nullptr, begin);
  return error ? Step::close : Step::linger;
}

/// Half-closes and discards what the client still sends, for a bounded time: bytes in flight would otherwise make the
/// kernel answer with a reset, which may overtake the answer (RFC 9112 section 9.6). Meanwhile the place can be had
/// back by whoever needs it more.
void Connection::linger() noexcept {
  stream_.shutdown_write();
  const std::int64_t begin = monotonic_now();
  waiting_since_.store(encode(Waiting::for_end, begin), std::memory_order_release);
  for (std::size_t discarded = 0; discarded < linger_bytes_;) {
    const Deadline limit =
        Deadline::at(monotonic_now() + kLingerSilence.count()).earlier(Deadline::at(begin + kLinger));
    const Result<std::size_t> n = stream_.read_some(bytes(ws_->in, ws_->in_capacity), limit);
    if (!n || *n == 0) break;
    discarded += *n;
    runtime::yield();  // whoever pumps is served last
  }
  waiting_since_.store(0, std::memory_order_release);
}

/// Reads what the handler left of the body. False: it cannot be had at a bearable price, so the connection must close.
bool Connection::finish_body(Exchange& ex) noexcept {
  if (ex.decoder_.done()) return true;
  const std::uint64_t before = ex.decoder_.received();
  ex.deadline_ = Deadline::at(runtime::coarse_now() + kLinger);
  bool bearable = !ex.leaves_too_much();
  const bool counted = ex.body_timed_out_ || ex.decoder_.reason() != Reject::none;
  bool left = false;
  while (bearable && !ex.decoder_.done()) {
    const Result<std::string_view> piece = ex.read_body();
    left = !piece && piece.error() != std::errc::timed_out;
    bearable = piece.has_value() && ex.decoder_.received() - before <= Exchange::kDrainBytes;
  }
  if (bearable) return true;
  ex.keep_alive_ = false;
  // A client that left, or was about to, has lost nothing.
  if (ex.request_.keep_alive && !left && !counted && ex.refused_ == Reject::none)
    count(server_.options_.metrics.closed_unread_body);
  return false;
}

}  // namespace fiberd::http
