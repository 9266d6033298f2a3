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
#include "core/http/h1/connection.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <string>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"
#include "core/base/random.hpp"
#include "core/http/client_context.hpp"
#include "core/http/site/dispatch.hpp"
#include "core/http/site/refusal_log.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

static constexpr unsigned kTurn = 32;  // requests of a pipeline before others have their turn
// How much is read for nothing behind the last answer.
static constexpr std::uint32_t kLingerBody = 64 * 1024 * 1024;
static constexpr std::uint32_t kLingerHead = 256 * 1024;  // more is no mistake but an attack
static constexpr unsigned kIdleTries = 16;
static constexpr std::size_t kLeastBodyRoom = std::size_t{8} * 1024;

static std::span<std::byte> bytes(char* data, std::size_t size) noexcept {
  return {reinterpret_cast<std::byte*>(data), size};
}
// ---------------------------------------------------------------------------------------------- states

void Connection::set_lifetime(const SiteOptions& o) noexcept {
  const std::int64_t now = runtime::coarse_now();
  if (o.timeouts.age.count() == 0 && o.requests == 0) return;
  // Clients that came together shall not come back together.
  Random random(reinterpret_cast<std::uintptr_t>(this) ^ static_cast<std::uint64_t>(now));
  const double factor = 0.9 + random.below(1'000'000) * 0.2e-6;
  if (o.timeouts.age.count() != 0) {
    const double age = std::min(static_cast<double>(o.timeouts.age.count()) * factor, 9e18);
    retire_at_ = RetireTime::after(now, std::chrono::nanoseconds(static_cast<std::int64_t>(age)));
  }
  if (o.requests != 0)
    requests_left_ = static_cast<std::uint32_t>(std::max<std::int64_t>(
        1, std::min<std::int64_t>(UINT32_MAX, std::llround(static_cast<double>(o.requests) * factor))));
}

void Connection::count_retired() const noexcept {
  const ServerMetrics& m = metrics();
  count(requests_left_ == 0 ? m.closed_requests : m.closed_age);
}

void Connection::start(runtime::FiberName fiber_name) noexcept {
  const fiber::StackClaim claim = server_.claim_;
  const Result<void> spawned = claim == fiber::StackClaim::ordinary
                                   ? runtime::spawn(fiber_name, [this] { run(); })
                                   : runtime::spawn_reserved(claim, fiber_name, [this] { run(); });
  if (spawned) return;
  count(metrics().spawn_refused);
  finish();
}

void Connection::finish() noexcept {
  server_.unlist(*this);  // first: stop() asks the streams of those in its list
  if (is_http2()) [[unlikely]]
    leave_session();
  else
    delete client_;  // before the descriptor that it watches
  stream_->close();
  place_.give_back();
  server_.destroy(*this);
}

ClientContext& Connection::client() {
  if (ws_->client == nullptr) ws_->client = new ClientContext(server_.context(), *stream_, server_.half_close_cancels_);
  return *ws_->client;
}

/// What the connection needs while it is active; nullptr: memory is out.
Workspace* Connection::acquire_workspace() noexcept {
  const std::uint32_t version = server_.site_version_.load(std::memory_order_acquire);
  auto site = server_.site_.read();
  Workspace* const ws = (*site)->workspaces().acquire();
  if (ws == nullptr) {
    count(metrics().spawn_refused);
    return nullptr;
  }
  ws->site = site->get();
  ws->site_version = version;
  ws->site_guard = std::move(site);
  stream_->note_readable();
  ws->parser.reset(has_past(kAfterEmptyLine));
  ws->writes.reset();
  ws->begin = ws->end = ws->out_size = 0;
  ws->output_lost = false;
  ws->linger_bytes = kLingerHead;
  ws->head_since = waiting_since_.load(std::memory_order_relaxed);  // read_more() forgets it where it means no head
  ws->client = client_;
  return ws;
}

/// False: memory is out, and the connection is gone.
bool Connection::take_workspace() noexcept {
  ws_ = acquire_workspace();
  if (ws_ != nullptr) return true;
  finish();
  return false;
}

void Connection::give_workspace() noexcept {
  // Last: the workspaces may be gone with their Site.
  Workspace* const ws = ws_;
  const auto site = std::move(ws->site_guard);
  client_ = ws->client;
  ws->site->workspaces().release(ws);
}

void Connection::renew_site_slow() noexcept {
  const std::uint32_t version = server_.site_version_.load(std::memory_order_acquire);
  auto site = server_.site_.read();
  if (&(*site)->workspaces() != &ws_->site->workspaces()) return;  // renew_workspace(), once there is nothing in it
  if (ws_->unsent_count != 0) (void)flush();                       // what waits to be told points into the old one
  ws_->site = site->get();
  ws_->site_version = version;
  ws_->site_guard = std::move(site);
}

bool Connection::renew_workspace_slow() noexcept {
  renew_site_slow();
  if (!is_behind()) return true;
  waiting_since_.store(ws_->head_since, std::memory_order_relaxed);
  give_workspace();
  return take_workspace();
}

/// As renew_workspace(), with the beginning of a head in the buffer: a client that always leaves one there must not be
/// served by what has been replaced for as long as it likes.
Connection::Step Connection::carry_over() noexcept {
  renew_site_slow();
  if (!is_behind()) return Step::go_on;
  Workspace* const old = ws_;
  Workspace* const fresh = acquire_workspace();
  if (fresh == nullptr) {
    give_workspace();
    finish();
    return Step::gone;
  }
  if (old->end >= fresh->in_capacity) {
    // More than the new one takes of a head. Refused with the old one in hand, which knows what was asked for.
    const auto site = std::move(fresh->site_guard);
    fresh->site->workspaces().release(fresh);
    return refuse(Reject::head_too_large);
  }
  // Parsed from its beginning again.
  std::memcpy(fresh->in, old->in, old->end);
  fresh->end = old->end;
  fresh->head_since = old->head_since;
  give_workspace();
  fresh->client = client_;
  ws_ = fresh;
  return Step::go_on;
}

void Connection::run() noexcept {
  if (is_http2()) [[unlikely]]
    return run_http2({});
  if (!take_workspace()) return;
  if (!served()) {
    if (stream_->application_protocol() == "h2") [[unlikely]]
      return become_http2();
    if (stream_->is_early()) [[unlikely]]
      note_past(kEarly);
  }
  metric::Gauge* const active = metrics().active;
  if (active != nullptr) active->add();
  Step step = parted_ ? Step::linger : read_more();
  unsigned turn = kTurn;
  while (step == Step::go_on) {
    Workspace& ws = *ws_;
    const Verdict verdict =
        ws.begin == ws.end ? Verdict::need_more : ws.parser.parse(ws.in + ws.begin, ws.end - ws.begin);
    if (verdict == Verdict::complete) {
      step = has_past(kEarly) ? serve_early() : serve_request();
      if (step == Step::left) [[unlikely]]
        return;
      ws_->parser.reset();
      if (--turn == 0) {
        turn = kTurn;
        runtime::yield();
      }
    } else if (verdict == Verdict::refused) {
      if (begins_http2()) {
        if (active != nullptr) active->sub();
        return become_http2();
      }
      if (reads_as_secured()) continue;
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
  if (step == Step::done && (ws_->end != ws_->begin || !stream_->drained())) step = Step::linger;
  if (step == Step::linger && !ws_->output_lost) linger();
  if (step == Step::done && !ws_->output_lost) (void)stream_->take_leave(write_limit());
  give_workspace();
  finish();
}

/// No complete head is in the buffer, and no answer waits for its send: reads, or goes idle.
Connection::Step Connection::read_more() noexcept {
  Workspace* ws = ws_;
  if (ws->begin != 0) {
    std::memmove(ws->in, ws->in + ws->begin, ws->end - ws->begin);
    ws->end -= ws->begin;
    ws->begin = 0;
  }
  if (ws->end == 2 && ws->parser.only_empty_line()) {
    // Left over from the request before (RFC 9112 section 2.2), and no reason to hold a fiber or to send a 408.
    note_past(kAfterEmptyLine);
    ws->end = 0;
    ws->parser.reset(true);
  }
  if (ws->end == 0) {
    if (served()) ws->head_since = 0;
    if (stream_->drained() && go_idle()) return Step::gone;
    if (!renew_workspace()) return Step::gone;
  } else if (is_behind()) {
    // What was taken along is parsed before anything is waited for: it may be too much for the new site already.
    const Workspace* const before = ws;
    if (const Step step = carry_over(); step != Step::go_on || ws_ != before) return step;
  }
  // That it need not wait, and that then nothing is there, is again and again so only if epoll takes nobody more.
  for (unsigned tries = 0;;) {
    ws = ws_;  // going idle, and renewing, may have changed it for another
    Result<std::size_t> n = stream_->try_read(bytes(ws->in + ws->end, ws->in_capacity - ws->end));
    if (!n && n.error() == std::errc::operation_would_block) {
      if (ws->end == 0) {
        if (stream_->is_shut_down()) return Step::close;  // cut by a stop
        if (go_idle()) return Step::gone;
        if (!stream_->bytes_waiting() && ++tries == kIdleTries) {
          count(metrics().epoll_refused);
          return Step::close;
        }
        continue;
      }
      n = read_rest_of_head();
      if (!n && n.error() == std::errc::timed_out) {
        count(metrics().header_timeouts);
        return refuse(408);
      }
    }
    if (!n || *n == 0) return Step::close;
    const bool had_some = ws->end != 0;
    ws->end += static_cast<std::uint32_t>(*n);
    return had_some && is_behind() ? carry_over() : Step::go_on;
  }
}

Result<std::size_t> Connection::read_rest_of_head() noexcept {
  Workspace& ws = *ws_;
  if (ws.head_since == 0) ws.head_since = runtime::coarse_now();
  waiting_since_.store(encode(Waiting::for_head, ws.head_since), std::memory_order_release);
  Result<std::size_t> n = stream_->read_some(bytes(ws.in + ws.end, ws.in_capacity - ws.end),
                                             Deadline::after(ws.head_since, options().timeouts.header));
  // Bytes that came when the connection had been taken already are too late.
  if (waiting_since_.exchange(0, std::memory_order_acq_rel) == 0) return fail(std::errc::operation_canceled);
  return n;
}

// ---------------------------------------------------------------------------------------------- requests

Connection::Step Connection::serve_request() noexcept {
  // The clock is read once a request, by account(): this one began when the Poller brought it or the one before ended.
  Workspace& ws = *ws_;
  const std::int64_t begin = std::max(runtime::coarse_now(), ws.clock);
  renew_site();
  WireRequest request = ws.parser.request(ws.in + ws.begin);
  if (request.framing != Framing::none && ws.in_capacity - ws.begin - ws.parser.consumed() < kLeastBodyRoom) {
    // Deep in a pipeline: there must be room behind the head, which stays where it is from now on.
    // What the log is to be told of those before it lies there, too.
    if (ws.unsent_count != 0) (void)flush();
    std::memmove(ws.in, ws.in + ws.begin, ws.end - ws.begin);
    ws.end -= ws.begin;
    ws.begin = 0;
    request = ws.parser.request(ws.in);
  }
  const std::size_t head = ws.parser.consumed();
  ws.begin += static_cast<std::uint32_t>(head);
  ws.head_since = 0;
  past_.store(kServed, std::memory_order_relaxed);

  const Site& site = *ws.site;
  if (site.options().http2.by_upgrade) [[unlikely]] {
    if (const Step step = try_http2(request, head); step != Step::go_on) return step;
  }
  --requests_left_;
  H1Stream stream(*this, request, site, request.keep_alive && may_live_on(begin), ws.begin);
  Exchange ex(stream, request, site);
  ws.writes.reset();
  Dispatch dispatch(site, ex, metrics());
  const std::error_code error = dispatch.run({ws.path, site.options().head.target_size}, begin);
  // Before it is counted what it was is sent, and what the client still sends is no part of how long it took. Where
  // another request is here already both leave together.
  if (stream.body_done() ? ws.begin == ws.end : stream.all_read()) (void)flush();
  account(ex, stream, dispatch.route(), dispatch.reason(), begin, head);
  const bool body_done = !error && stream.finish_body();
  if (ws.output_lost) return Step::close;
  if (!body_done) ws.linger_bytes = kLingerBody;
  // A body that was refused in the middle of an answer: the client may be sending still.
  if (error) return stream.refused() != Reject::none ? Step::linger : Step::close;
  if (stream.upgraded()) return Step::done;
  if (body_done && stream.keep_alive()) return Step::go_on;
  // Whoever did not ask for the end may have sent more than we have seen.
  return body_done && !request.keep_alive ? Step::done : Step::linger;
}

/// An https target was refused, and the connection is secured: then it is for us, and read again. That it is, is looked
/// at here, where it is asked for: hardly any client sends such a target.
bool Connection::reads_as_secured() noexcept {
  RequestParser& parser = ws_->parser;
  if (parser.reason() != Reject::misdirected || stream_->tls_peer() == nullptr) return false;
  parser.reset_secured(has_past(kAfterEmptyLine));
  return true;
}

/// The head cannot be understood: there is no request, and where the next one begins nobody knows.
Connection::Step Connection::refuse(Reject reason) noexcept {
  count(metrics().rejects[static_cast<std::size_t>(reason)]);
  return refuse(status_of(reason), reason);
}

Connection::Step Connection::refuse(unsigned status, Reject reason) noexcept {
  Workspace& ws = *ws_;
  const WireRequest request = ws.parser.partial_request(ws.in + ws.begin);
  H1Stream stream(*this, request, *ws.site, false, ws.begin);
  Exchange ex(stream, request, *ws.site);
  const std::int64_t begin = monotonic_now();
  log_refusal(reason, ex);
  if (metric::StatusCounters* const counters = options().metrics.unrouted; counters != nullptr) counters->begin();
  const std::error_code error = error_of(ex.respond_error(status));
  (void)flush();
  account(ex, stream, nullptr, reason, begin, ws.end - ws.begin);
  return error ? Step::close : Step::linger;
}

/// Half-closes and discards what the client still sends, for a bounded time: bytes in flight would otherwise make the
/// kernel answer with a reset, which may overtake the answer (RFC 9112 section 9.6). Meanwhile the place can be had
/// back by whoever needs it more.
void Connection::linger() noexcept {
  (void)stream_->take_leave(write_limit());
  stream_->shutdown_write();
  const std::int64_t begin = monotonic_now();
  waiting_since_.store(encode(Waiting::for_end, begin), std::memory_order_release);
  for (std::size_t discarded = 0; discarded < ws_->linger_bytes;) {
    const Deadline limit =
        Deadline::at(monotonic_now() + kLingerSilence.count()).earlier(Deadline::at(begin + kLinger));
    const Result<std::size_t> n = stream_->read_some(bytes(ws_->in, ws_->in_capacity), limit);
    if (!n || *n == 0) break;
    discarded += *n;
    runtime::yield();  // whoever pumps is served last
  }
  waiting_since_.store(0, std::memory_order_release);
}

}  // namespace fiberd::http
