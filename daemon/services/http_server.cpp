#include "daemon/services/http_server.hpp"

#include <list>
#include <utility>

#include "core/http/websocket/metrics.hpp"
#include "core/observe/catalogue.hpp"

namespace fiberd::daemon {

using observe::register_metric;

/// Nothing counts WebSockets that does not have the pointer; most listeners have none, and their series say so.
static std::shared_ptr<const http::WebSocketMetrics> make_websocket_metrics(const std::string& listener,
                                                                            metric::Leases& leases) {
  metric::Registry& registry = leases.registry();
  const auto m = std::make_shared<http::WebSocketMetrics>();
  const auto late = std::make_shared<std::list<metric::LateCounter>>();
  m->keeps = late;
  m->open = &leases.gauge(register_metric(registry, "fiberd_websocket_connections"), {listener});
  m->opened = &leases.counter(register_metric(registry, "fiberd_websocket_opened_total"), {listener});
  metric::Family& messages = register_metric(registry, "fiberd_websocket_messages_total");
  m->received_messages = &leases.counter(messages, {listener, "in"});
  m->sent_messages = &leases.counter(messages, {listener, "out"});
  metric::Family& bytes = register_metric(registry, "fiberd_websocket_bytes_total");
  m->received_bytes = &leases.counter(bytes, {listener, "in"});
  m->sent_bytes = &leases.counter(bytes, {listener, "out"});
  metric::Family& closed = register_metric(registry, "fiberd_websocket_closed_total");
  for (std::size_t i = 0; i < m->closed.size(); ++i)
    m->closed[i] = &late->emplace_back(registry, closed, listener,
                                       i < http::kCloseCodes.size() ? std::to_string(http::kCloseCodes[i]) : "other");
  metric::Family& refused = register_metric(registry, "fiberd_websocket_refused_total");
  for (std::size_t i = 1; i < m->refused.size(); ++i)
    m->refused[i] =
        &late->emplace_back(registry, refused, listener, http::token_of(static_cast<http::WebSocketRules::Verdict>(i)));
  return m;
}

http::ServerMetrics make_server_metrics(const std::string& listener, metric::Leases& leases) {
  metric::Registry& registry = leases.registry();
  http::ServerMetrics m;
  m.active = &leases.gauge(register_metric(registry, "fiberd_listener_connections_active"), {listener});
  m.idle = &leases.gauge(register_metric(registry, "fiberd_listener_connections_idle"), {listener});
  metric::Family& refused = register_metric(registry, "fiberd_http_refused_total");
  const auto late = std::make_shared<std::list<metric::LateCounter>>();
  for (std::size_t i = 1; i < m.rejects.size(); ++i)
    m.rejects[i] = &late->emplace_back(registry, refused, listener, http::token_of(static_cast<http::Reject>(i)));
  const std::shared_ptr<const http::WebSocketMetrics> websocket = make_websocket_metrics(listener, leases);
  m.websocket = websocket.get();
  m.keeps = std::make_shared<std::pair<std::shared_ptr<const void>, std::shared_ptr<const void>>>(late, websocket);
  metric::Family& timeouts = register_metric(registry, "fiberd_http_timeouts_total");
  m.header_timeouts = &leases.counter(timeouts, {listener, "header"});
  m.body_timeouts = &leases.counter(timeouts, {listener, "body"});
  m.request_timeouts = &leases.counter(timeouts, {listener, "request"});
  m.write_timeouts = &leases.counter(timeouts, {listener, "write"});
  m.idle_timeouts = &leases.counter(timeouts, {listener, "idle"});
  m.body_rate = &leases.counter(timeouts, {listener, "body_rate"});
  m.write_rate = &leases.counter(timeouts, {listener, "write_rate"});
  metric::Family& reclaimed = register_metric(registry, "fiberd_http_reclaimed_total");
  m.reclaimed_idle = &leases.counter(reclaimed, {listener, "idle"});
  m.reclaimed_head = &leases.counter(reclaimed, {listener, "head"});
  m.reclaimed_end = &leases.counter(reclaimed, {listener, "end"});
  metric::Family& closed = register_metric(registry, "fiberd_http_closed_total");
  m.closed_unread_body = &leases.counter(closed, {listener, "unread_body"});
  m.closed_age = &leases.counter(closed, {listener, "age"});
  m.closed_requests = &leases.counter(closed, {listener, "requests"});
  m.closed_truncated = &leases.counter(closed, {listener, "truncated"});
  m.http2.connections = &leases.counter(register_metric(registry, "fiberd_http2_connections_total"), {listener});
  m.http2.requests = &leases.counter(register_metric(registry, "fiberd_http2_requests_total"), {listener});
  metric::Family& received = register_metric(registry, "fiberd_http2_resets_received_total");
  metric::Family& sent = register_metric(registry, "fiberd_http2_resets_sent_total");
  metric::Family& goaways = register_metric(registry, "fiberd_http2_goaways_total");
  for (std::uint32_t i = 0; i < http::h2::kCodes; ++i) {
    const std::string_view code = http::h2::token_of(static_cast<http::h2::Code>(i));
    m.http2.resets_received[i] = &late->emplace_back(registry, received, listener, code);
    m.http2.resets_sent[i] = &late->emplace_back(registry, sent, listener, code);
    m.http2.goaways_sent[i] = &late->emplace_back(registry, goaways, listener, code);
  }
  m.spawn_refused = &leases.counter(register_metric(registry, "fiberd_listener_refused_total"), {listener, "fibers"});
  m.epoll_refused = &leases.counter(register_metric(registry, "fiberd_listener_refused_total"), {listener, "epoll"});
  m.panics = &leases.counter(register_metric(registry, "fiberd_http_handler_exceptions_total"), {listener});
  return m;
}

metric::StatusFamilies status_families(Whose whose, metric::Registry& registry) {
  if (whose == Whose::admin)
    return {.durations = register_metric(registry, "fiberd_admin_request_duration_seconds"),
            .received = register_metric(registry, "fiberd_admin_received_bytes_total"),
            .sent = register_metric(registry, "fiberd_admin_sent_bytes_total"),
            .in_flight = register_metric(registry, "fiberd_admin_requests_in_flight")};
  return {.durations = register_metric(registry, "fiberd_http_request_duration_seconds"),
          .received = register_metric(registry, "fiberd_http_received_bytes_total"),
          .sent = register_metric(registry, "fiberd_http_sent_bytes_total"),
          .in_flight = register_metric(registry, "fiberd_http_requests_in_flight")};
}

HttpServer::HttpServer(Whose whose, const std::string& listener, metric::Registry& registry)
    : whose_(whose), listener_(listener), leases_(registry), entrance_(listener, registry) {
  // The series that its sites lease, too: what the server counts by is of the first of them.
  (void)make_server_metrics(listener, leases_);
}

HttpServer::~HttpServer() = default;

void HttpServer::on_accept(void* server, net::Admitted&& connection) noexcept {
  auto& self = *static_cast<HttpServer*>(server);
  if (TlsEntrance* const tls = self.encrypts_.load(std::memory_order_acquire); tls != nullptr)
    return tls->acceptor().accept(std::move(connection));
  self.server_->serve(std::move(connection));
}

void HttpServer::on_stream(void* server, net::TcpStream&& stream, net::Place&& place,
                           const net::Endpoint& client) noexcept {
  auto& self = *static_cast<HttpServer*>(server);
  if (TlsEntrance* const tls = self.encrypts_.load(std::memory_order_acquire); tls != nullptr)
    return tls->acceptor().accept(std::move(stream), std::move(place), client);
  self.server_->serve(std::move(stream), std::move(place), client);
}

void HttpServer::encrypt(const Encryption& encryption) {
  if (encryption.contexts == nullptr) {
    // Handshakes under way end by what they began with.
    encrypts_.store(nullptr, std::memory_order_release);
    return;
  }
  if (tls_ == nullptr) {
    tls_ = std::make_unique<TlsEntrance>(listener_, leases_.registry());
    reclaims_.store(tls_.get(), std::memory_order_release);
  }
  tls_->use(
      encryption,
      [](void* server, std::unique_ptr<net::ByteStream> stream, net::Place&& place,
         const net::Endpoint& client) noexcept {
        static_cast<HttpServer*>(server)->server_->serve(std::move(stream), std::move(place), client);
      },
      this);
  encrypts_.store(tls_.get(), std::memory_order_release);
}

std::size_t HttpServer::end_handshakes(std::size_t most) noexcept {
  TlsEntrance* const tls = reclaims_.load(std::memory_order_acquire);
  return tls != nullptr ? tls->reclaim(most) : 0;
}

void HttpServer::use(std::shared_ptr<const http::Site> site) {
  if (server_ != nullptr) return server_->use(std::move(site));
  http::ServerOptions options;
  if (whose_ == Whose::admin) {
    options.fiber_name = "admin";  // let in above the memory limit, too
    options.kept_fiber_name = "admin kept";
    options.claim = fiber::StackClaim::report;
  }
  server_ = http::Server::make_for(options, std::move(site));
}

}  // namespace fiberd::daemon
