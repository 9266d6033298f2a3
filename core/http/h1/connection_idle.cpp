// Idle connections: how they wait, and who takes them.
//
// A stop cuts nothing that was said to go on. From its beginning every answer says `Connection: close`, decided when
// its head is committed. A connection that was told before that it goes on may carry another request at any moment, so
// it stays open for a grace (Timeouts::drain, counted from the stop or from its last answer); what comes meanwhile is
// served. Then it parts: FIN first, the socket stays open until the client has ended, too, or a second has passed.
// Closing at once, as others do, answers a request that met the FIN half-way by a reset, and the reset may take away
// what the client has not read yet. That a request is sent at the very moment of the FIN nobody can prevent: it is not
// served, and the client sees an orderly end without an answer (RFC 9112 section 9.5).
//
// The same ownership serves the reclaim of places (reclaim.hpp): whoever wins the poll word of an idle connection has
// it; one in the middle of a head, or that lingers, is told to end by the word in waiting_since_.
#include "core/http/client_context.hpp"
#include "core/http/h1/connection.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

/// Until bytes come, the peer ends, or `limit`. As PollDescriptor::go_idle().
bool Connection::wait_idle(Deadline limit) noexcept {
  static constexpr auto kReady = [](void* argument) noexcept {
    auto& c = *static_cast<Connection*>(argument);
    if (c.metrics().idle != nullptr) c.metrics().idle->sub();
    c.start(c.served() ? c.server_.kept_fiber_name_ : c.server_.fiber_name_);
  };
  static constexpr auto kTimeout = [](void* argument) noexcept {
    auto& c = *static_cast<Connection*>(argument);
    if (c.is_http2()) {  // it is told
      c.note_past(kExpired);
      return kReady(argument);
    }
    // A request that came with the deadline is served: its edge is still under way.
    if (!c.parted_ && c.stream_->bytes_waiting()) return kReady(argument);
    if (c.metrics().idle != nullptr) c.metrics().idle->sub();
    const ServerMetrics& m = c.metrics();
    if (!c.parted_) count(c.served() ? m.idle_timeouts : m.header_timeouts);
    c.finish();
  };
  static constexpr runtime::IdleHandler kHandler{kReady, kTimeout};
  return stream_->go_idle(kHandler, this, limit);
}

/// True: the connection is no longer ours. False: bytes are there already; read.
bool Connection::go_idle() noexcept {
  if (ws_->client != nullptr) [[unlikely]]
    ws_->client->unwatch();
  metric::Gauge* const idle = metrics().idle;
  // A client that has sent nothing yet is still within its header time-out.
  const std::chrono::nanoseconds patience = served() ? options().timeouts.idle : options().timeouts.header;
  const std::int64_t since = served() ? runtime::coarse_now() : ws_->head_since;
  give_workspace();
  if (idle != nullptr) idle->add();
  waiting_since_.store(since, std::memory_order_relaxed);
  if (wait_idle(Deadline::after(since, patience))) return true;
  if (idle != nullptr) idle->sub();
  return !take_workspace();
}

// ---------------------------------------------------------------------------------------------- claimed

void Connection::restart_claimed() noexcept {
  if (metrics().idle != nullptr) metrics().idle->sub();
  start(server_.kept_fiber_name_);
}

void Connection::part() noexcept {
  metric::Gauge* const idle = metrics().idle;
  if (idle != nullptr) idle->sub();
  if (is_http2()) {
    parted_ = true;
    start(server_.kept_fiber_name_);
    return;
  }
  if (stream_->bytes_waiting()) {
    start(server_.kept_fiber_name_);
    return;
  }
  parted_ = true;
  (void)stream_->shutdown_write();
  if (idle != nullptr) idle->add();
  if (wait_idle(Deadline::in(kLingerSilence))) return;
  if (idle != nullptr) idle->sub();
  start(server_.kept_fiber_name_);
}

void Connection::close_claimed() noexcept {
  if (metrics().idle != nullptr) metrics().idle->sub();
  finish();
}

std::int64_t Connection::encode(Waiting what, std::int64_t since) noexcept {
  if (what == Waiting::for_request) return since;
  // The lowest bit tells the two apart that end by being told.
  return -((since & ~std::int64_t{1}) | (what == Waiting::for_head ? 1 : 0));
}

std::int64_t Connection::waiting_since(Waiting what) const noexcept {
  const std::int64_t code = waiting_since_.load(std::memory_order_relaxed);
  if (what == Waiting::for_request) return code > 0 && stream_->is_idle() ? code : 0;
  return code < 0 && encode(what, -code) == code ? -code : 0;
}

bool Connection::claim_waiting(Waiting what, std::int64_t until) noexcept {
  std::int64_t code = waiting_since_.load(std::memory_order_relaxed);
  if (what == Waiting::for_request) return code > 0 && code <= until && claim_idle();
  if (code >= 0 || encode(what, -code) != code || -code > until) return false;
  if (!waiting_since_.compare_exchange_strong(code, 0, std::memory_order_acq_rel)) return false;
  const ServerMetrics& m = metrics();
  count(what == Waiting::for_head ? m.reclaimed_head : m.reclaimed_end);
  abort();
  return true;
}

bool Connection::close_if_silent() noexcept {
  if (stream_->bytes_waiting()) return false;
  if (metrics().idle != nullptr) metrics().idle->sub();
  count(metrics().reclaimed_idle);
  finish();
  return true;
}

}  // namespace fiberd::http
