// A connection that turns out to speak HTTP/2: by its first bytes where the listener lets it. From then on it is its
// Session's (h2/session.cpp), and what is left here is when it is idle, and its end.
#include <algorithm>
#include <new>
#include <string>

#include "core/http/h1/connection.hpp"
#include "core/http/h2/session.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::http {

/// A head was refused, as HTTP/2's preface is by the grammar of HTTP/1. What comes behind it is looked at by who speaks
/// HTTP/2.
bool Connection::begins_http2() const noexcept {
  static constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const Workspace& ws = *ws_;
  if (served() || has_past(kAfterEmptyLine) || ws.out_size != 0 || !options().http2.prior_knowledge ||
      !stream_->application_protocol().empty())
    return false;
  const std::string_view begun(ws.in + ws.begin, std::min<std::size_t>(ws.end - ws.begin, kPreface.size()));
  return !begun.empty() && kPreface.substr(0, begun.size()) == begun;
}

void Connection::become_http2() noexcept {
  h2::Session* session = nullptr;
  std::string first;
  try {
    first.assign(ws_->in + ws_->begin, ws_->end - ws_->begin);
    waiting_since_.store(ws_->head_since, std::memory_order_relaxed);
    session = h2::Session::make(*this);
  } catch (const std::bad_alloc&) {
  }
  give_workspace();
  if (session == nullptr) {
    count(metrics().spawn_refused);
    return finish();
  }
  session_ = session;
  note_past(kHttp2);
  run_http2(first);
}

void Connection::leave_session() noexcept { session_->leave(); }

void Connection::run_http2(std::string_view first) noexcept {
  metric::Gauge* const active = metrics().active;
  metric::Gauge* const idle = metrics().idle;
  if (active != nullptr) active->add();
  for (;;) {
    // Also behind a wait_idle() that said no: that has used up the edge of what is there.
    stream_->note_readable();
    const bool expired = has_past(kExpired) && !stream_->bytes_waiting();
    const h2::Session::End end = session_->run(first, expired);
    if (end == h2::Session::End::closed) break;
    first = {};
    past_.store(session_->served() ? kHttp2 | kServed : kHttp2, std::memory_order_relaxed);
    const std::int64_t since = session_->quiet_since();
    std::chrono::nanoseconds patience{};
    {
      const auto site = server_.site_.read();
      const Timeouts& t = (*site)->options().timeouts;
      patience = served() ? t.idle : t.header;
    }
    if (active != nullptr) active->sub();
    if (idle != nullptr) idle->add();
    waiting_since_.store(since, std::memory_order_relaxed);
    if (wait_idle(Deadline::after(since, patience))) return;
    if (idle != nullptr) idle->sub();
    if (active != nullptr) active->add();
  }
  if (active != nullptr) active->sub();
  finish();
}

}  // namespace fiberd::http
