// A connection that turns out to speak HTTP/2: by its first bytes, or by a request that asks for it, where the listener
// lets it. From then on it is its Session's (h2/session.cpp), and what is left here is when it is idle, and its end.
#include <algorithm>
#include <new>
#include <string>
#include <utility>

#include "core/http/client_context.hpp"
#include "core/http/h1/connection.hpp"
#include "core/http/h2/session.hpp"
#include "core/runtime/runtime.hpp"
#include "core/tls/jose.hpp"

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

/// Of SETTINGS, six bytes each: no value that ends a connection (RFC 9113 section 6.5.2, RFC 8441 section 3, RFC 9218
/// section 2.1).
static bool are_possible(std::string_view settings) noexcept {
  static constexpr std::size_t kSetting = 6;
  if (settings.size() % kSetting != 0) return false;
  const auto number = [](std::string_view bytes) {
    std::uint32_t value = 0;
    for (const char c : bytes) value = value << 8U | static_cast<unsigned char>(c);
    return value;
  };
  for (; !settings.empty(); settings.remove_prefix(kSetting)) {
    const std::uint32_t value = number(settings.substr(2, 4));
    switch (number(settings.substr(0, 2))) {
      case 2:  // ENABLE_PUSH
      case 8:  // ENABLE_CONNECT_PROTOCOL
      case 9:  // NO_RFC7540_PRIORITIES
        if (value > 1) return false;
        break;
      case 4:  // INITIAL_WINDOW_SIZE
        if (value > 0x7fffffffU) return false;
        break;
      case 5:  // MAX_FRAME_SIZE
        if (value < 16'384 || value > 0xffffffU) return false;
        break;
      default: break;
    }
  }
  return true;
}

/// RFC 7540 section 3.2. What asks for it in another way than is said there is served by HTTP/1.1, as if it had not
/// asked; so is what has a body, which would have to be read before the answer to it may be HTTP/2's.
bool Connection::asks_for_http2(const WireRequest& request, std::string& settings) const {
  static constexpr std::size_t kMostSettings = 192;
  const HeaderView& fields = request.headers;
  if (!fields.has_token("upgrade", "h2c") || request.version != Version::http11 || !request.keep_alive ||
      request.form != TargetForm::origin || request.framing == Framing::chunked ||
      request.content_length.value_or(0) != 0 || !stream_->application_protocol().empty() ||
      stream_->tls_peer() != nullptr || !fields.has_token("connection", "upgrade") ||
      !fields.has_token("connection", "http2-settings"))
    return false;
  const std::size_t at = fields.index_of("http2-settings");
  if (at == fields.size() || fields.index_of("http2-settings", at + 1) != fields.size()) return false;
  Result<std::string> bytes = tls::from_base64url(fields[at].value);
  if (!bytes || bytes->size() > kMostSettings || !are_possible(*bytes)) return false;
  settings = std::move(*bytes);
  return true;
}

/// go_on: the request is HTTP/1.1's.
Connection::Step Connection::try_http2(const WireRequest& request, std::size_t head) noexcept {
  static constexpr std::string_view kAnswer =
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n";
  std::string settings;
  std::string first;
  h2::Session* session = nullptr;
  try {
    if (!asks_for_http2(request, settings)) return Step::go_on;
    // Of the client's preface nothing should be here yet; a client that does not wait is understood.
    first.assign(ws_->in + ws_->begin, ws_->end - ws_->begin);
    waiting_since_.store(runtime::coarse_now(), std::memory_order_relaxed);
    session = h2::Session::make(*this);
  } catch (const std::bad_alloc&) {
  }
  waiting_since_.store(0, std::memory_order_relaxed);
  if (session == nullptr) return Step::go_on;
  if (!session->take_settings(settings, request.method == Method::head)) {
    session->leave();
    return Step::go_on;
  }
  if (flush_with(kAnswer) || !session->begin_first(request, head)) {
    session->leave();
    return Step::close;
  }
  if (metric::Gauge* const active = metrics().active; active != nullptr) active->sub();
  delete std::exchange(ws_->client, nullptr);  // of requests before: streams have their own
  give_workspace();
  session_ = session;
  note_past(kHttp2);
  run_http2(first);
  return Step::left;
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
