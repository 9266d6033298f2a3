#include "daemon/services/tcp_service.hpp"

#include <chrono>
#include <utility>

#include "core/observe/catalogue.hpp"
#include "daemon/services/tcp_services.hpp"

namespace fiberd::daemon {

TcpServerMetrics make_tcp_metrics(const std::string& listener, metric::Leases& leases) {
  metric::Registry& registry = leases.registry();
  TcpServerMetrics metrics;
  metrics.refused =
      &leases.counter(observe::register_metric(registry, "fiberd_listener_refused_total"), {listener, "fibers"});
  metrics.exceptions =
      &leases.counter(observe::register_metric(registry, "fiberd_tcp_handler_exceptions_total"), {listener});
  metrics.lived =
      &leases.histogram(observe::register_metric(registry, "fiberd_tcp_connection_duration_seconds"), {listener});
  metrics.bytes = {
      .received = &leases.counter(observe::register_metric(registry, "fiberd_tcp_received_bytes_total"), {listener}),
      .sent = &leases.counter(observe::register_metric(registry, "fiberd_tcp_sent_bytes_total"), {listener})};
  return metrics;
}

TcpService::Server::Server(std::shared_ptr<const TcpSite> site, const std::string& listener, metric::Registry& registry,
                           const context::Context& above)
    : leases(registry),
      entrance(listener, registry),
      server(std::move(site), make_tcp_metrics(listener, leases), above) {}

TcpService::TcpService(const config::ListenerConfig& listener, const config::TcpConfig& tcp, const Surroundings& with)
    : Service(listener.name, "tcp"),
      connections_(tcp.connections),
      connections_per_address_(tcp.connections_per_address),
      proxy_policy_(make_proxy_policy(listener, with.config, kProxyHeaderTimeout)),
      rate_limited_(tcp.flow.rate_limit.has_value()),
      memory_(with.memory.connections()),
      room_{&with.room, nullptr} {}

std::unique_ptr<TcpService> TcpService::provision(const config::ListenerConfig& listener, const Surroundings& with,
                                                  const TcpService* before, Failure& why) {
  const auto& config = std::get<config::TcpConfig>(listener.service);
  std::unique_ptr<TcpService> service(new TcpService(listener, config, with));
  TcpSite site;
  if (config.service == config::TcpService::handler) {
    site.name = config.handler.name;
    site.handler = with.handlers.tcp(config.handler.name);
    if (site.handler == nullptr) {
      why = {"listener " + listener.name + ": this program has no TCP handler " + config.handler.name,
             ExitCode::bad_usage};
      return nullptr;
    }
  } else {
    site.service = config.service == config::TcpService::echo ? &serve_tcp_echo : &serve_tcp_discard;
    site.idle_timeout = config.idle_timeout;
    site.pressure = &with.memory.pressure();
  }
  service->gate_ = service->gates_.make(config.flow, listener.name, "all", std::chrono::nanoseconds::max(),
                                        with.registry, before != nullptr ? &before->gates_ : nullptr);
  site.gate = service->gate_;
  service->site_ = std::make_shared<const TcpSite>(std::move(site));
  if (before == nullptr)
    service->server_ =
        std::make_shared<Server>(service->site_, listener.name, with.registry,
                                 context::with_value(context::background(), trace::kSource, with.traces));
  return service;
}

Result<void> TcpService::start() {
  server_->entrance.use(proxy_policy_, served(), &TcpServer::on_stream);
  return {};
}

void TcpService::adopt(Service& before) {
  server_ = static_cast<TcpService&>(before).server_;
  server_->server.use(site_);
  server_->entrance.use(proxy_policy_, served(), &TcpServer::on_stream);
}

net::Serving TcpService::serving() noexcept {
  // Asked for its limits before adopt(), too: then there is no server yet.
  return server_ != nullptr ? server_->entrance.serving(proxy_policy_.get(), served()) : served();
}

net::Serving TcpService::served() noexcept {
  net::Serving serving{.on_accept = &TcpServer::on_accept,
                       .argument = server_ != nullptr ? &server_->server : nullptr,
                       .connections = connections_,
                       .connections_per_address = connections_per_address_};
  serving.memory = memory_;
  serving.make_room = room_.make_room();
  if (rate_limited_) serving.gate = accept_gate(*gate_);
  return serving;
}

}  // namespace fiberd::daemon
