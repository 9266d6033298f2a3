#include "core/http/websocket/websocket.hpp"

#include <array>
#include <optional>
#include <system_error>

#include "core/http/site/site.hpp"
#include "core/http/websocket/session.hpp"

namespace fiberd::http {

namespace {

/// What the client offers, in however many fields.
std::string extensions_of(const HeaderView& headers) {
  std::string all;
  for (std::size_t i = headers.index_of("sec-websocket-extensions"); i < headers.size();
       i = headers.index_of("sec-websocket-extensions", i + 1)) {
    if (!all.empty()) all += ", ";
    all += headers[i].value;
  }
  return all;
}

Result<void> refuse_handshake(Exchange& exchange, WebSocketRules::Verdict verdict) {
  exchange.set_refusal(token_of(verdict));
  const std::array<Field, 2> fields{{{"Upgrade", "websocket"}, {"Sec-WebSocket-Version", "13"}}};
  const bool knows_upgrades = exchange.protocol().starts_with("HTTP/1");
  if (verdict == WebSocketRules::Verdict::version)
    return exchange.respond_error(knows_upgrades ? 426 : 400, std::span(fields).subspan(knows_upgrades ? 0 : 1));
  if (verdict == WebSocketRules::Verdict::not_asked)
    return exchange.respond_error(knows_upgrades ? 426 : 400, std::span(fields).first(knows_upgrades ? 1 : 0));
  return exchange.respond_error(status_of(verdict));
}

}  // namespace

Result<std::unique_ptr<WebSocket>> WebSocket::accept(Exchange& exchange, const WebSocketRules& rules,
                                                     const WebSocketOptions& options) {
  const Request& request = exchange.request();
  const SiteOptions& site = exchange.site_.options();
  const WebSocketMetrics* const metrics = site.metrics.websocket;
  WebSocketRules::Decision asked = rules.decide(request);
  if (exchange.protocol() == "HTTP/1.0") asked.verdict = WebSocketRules::Verdict::not_asked;
  if (asked.verdict != WebSocketRules::Verdict::accepted) {
    if (metrics != nullptr) metric::count(metrics->refused[static_cast<std::size_t>(asked.verdict)]);
    if (const Result<void> answered = refuse_handshake(exchange, asked.verdict); !answered)
      return fail(answered.error());
    return nullptr;
  }
  std::unique_ptr<WebSocket> socket(new WebSocket);
  try {
    socket->session_ = std::make_unique<Session>(
        options, Session::Sending{site.timeouts.write, site.timeouts.grace, site.write_rate, site.pressure},
        exchange.drain_context(), metrics);
  } catch (const std::system_error&) {  // no descriptors left
    if (const Result<void> answered = exchange.respond_error(503); !answered) return fail(answered.error());
    return nullptr;
  }
  socket->context_ = context::with_cancel(exchange.drain_context());
  const std::string extensions = extensions_of(request.headers);
  const Result<CodecAgreement> agreed = socket->session_->codec().accept({asked.key, extensions});
  if (!agreed) return fail(agreed.error());
  std::array<Field, 3> fields;
  std::size_t n = 0;
  if (!asked.key.empty()) fields[n++] = {"Sec-WebSocket-Accept", agreed->accept};
  if (!asked.subprotocol.empty()) fields[n++] = {"Sec-WebSocket-Protocol", asked.subprotocol};
  if (!agreed->extensions.empty()) fields[n++] = {"Sec-WebSocket-Extensions", agreed->extensions};
  const Result<net::ByteStream*> stream = exchange.upgrade("websocket", std::span(fields).first(n));
  if (!stream) return fail(stream.error());
  socket->subprotocol_ = asked.subprotocol;
  socket->compressed_ = !agreed->extensions.empty();
  socket->session_->open(**stream, socket->context_.cancel);
  return socket;
}

WebSocket::~WebSocket() {
  if (session_ != nullptr) session_->finish();
  context_.cancel();
}

Result<bool> WebSocket::read(const context::Context& ctx, WebSocketMessage& message) {
  return session_->read(ctx, message);
}

Result<void> WebSocket::write(const context::Context& ctx, Kind kind, std::string_view data) {
  return session_->write(ctx, kind, data);
}

Result<void> WebSocket::close(std::uint16_t code, std::string_view reason) { return session_->close(code, reason); }

std::uint16_t WebSocket::close_code() const noexcept { return session_->code(); }
std::string_view WebSocket::close_reason() const noexcept { return session_->reason(); }

std::shared_ptr<Handler> make_websocket_echo_handler(WebSocketRules rules, const WebSocketOptions& options) {
  return make_websocket_handler(std::move(rules), options, [](WebSocket& socket) -> Result<void> {
    WebSocketMessage message;
    for (;;) {
      const Result<bool> more = socket.read(message);
      if (!more) return fail(more.error());
      if (!*more) return {};
      if (const Result<void> sent = socket.write(message.kind, message.data); !sent) return sent;
    }
  });
}

}  // namespace fiberd::http
