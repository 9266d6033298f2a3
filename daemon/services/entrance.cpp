#include "daemon/services/entrance.hpp"

#include <string_view>
#include <utility>

#include "core/metric/late_counter.hpp"
#include "core/observe/catalogue.hpp"

namespace fiberd::daemon {

using observe::register_metric;

static net::ListenerMetrics make_listener_metrics(const std::string& listener, metric::Leases& leases) {
  metric::Registry& registry = leases.registry();
  net::ListenerMetrics m;
  metric::Family& refused = register_metric(registry, "fiberd_listener_refused_total");
  m.accepted = &leases.counter(register_metric(registry, "fiberd_listener_accepted_total"), {listener});
  m.refused_limit = &leases.counter(refused, {listener, "limit"});
  // Where there is no such limit there is no zero that says how often it was met.
  const auto late = [&](std::string_view reason) {
    const auto counter = std::make_shared<metric::LateCounter>(registry, refused, listener, reason);
    leases.keep(counter);
    return counter.get();
  };
  m.refused_address = late("address_limit");
  m.refused_gate = late("rate_limit");
  m.refused_memory = &leases.counter(refused, {listener, "memory"});
  m.refused_descriptors = &leases.counter(refused, {listener, "descriptors"});
  m.errors = &leases.counter(register_metric(registry, "fiberd_listener_accept_errors_total"), {listener});
  m.connections = &leases.gauge(register_metric(registry, "fiberd_listener_connections"), {listener});
  return m;
}

static std::unique_ptr<const net::ProxyMetrics> make_proxy_metrics(const std::string& listener,
                                                                   metric::Leases& leases) {
  metric::Registry& registry = leases.registry();
  auto m = std::make_unique<net::ProxyMetrics>();
  metric::Family& headers = register_metric(registry, "fiberd_proxy_protocol_connections_total");
  static constexpr const char* kVersions[] = {"none", "v1", "v2"};
  for (std::size_t i = 0; i < m->headers.size(); ++i)
    m->headers[i] = &leases.counter(headers, {listener, kVersions[i]});
  metric::Family& refused = register_metric(registry, "fiberd_proxy_protocol_refused_total");
  for (std::size_t i = 1; i < m->refused.size(); ++i)
    m->refused[i] = &leases.counter(refused, {listener, net::token_of(static_cast<net::ProxyRefusal>(i))});
  for (std::size_t i = 0; i < m->closed.size(); ++i)
    m->closed[i] = &leases.counter(refused, {listener, net::token_of(static_cast<net::ProxyClosed>(i))});
  return m;
}

std::shared_ptr<const net::ProxyPolicy> make_proxy_policy(const config::ListenerConfig& listener,
                                                          const config::Config& config,
                                                          std::chrono::nanoseconds header_timeout) {
  net::ProxyPolicy policy{.patience = header_timeout, .drain = config.shutdown.idle};
  switch (listener.proxy_protocol) {
    case config::ProxyProtocol::off: return nullptr;
    case config::ProxyProtocol::any: policy.headers = net::ProxyHeaders::any; break;
    case config::ProxyProtocol::v1: policy.headers = net::ProxyHeaders::v1; break;
    case config::ProxyProtocol::v2: policy.headers = net::ProxyHeaders::v2; break;
    case config::ProxyProtocol::optional: policy.headers = net::ProxyHeaders::optional; break;
  }
  // The loader has refused what is no range; if it has not, nobody is trusted.
  if (auto trusted = net::AddressRanges::make(config.trusted_proxies.texts)) policy.trusted = std::move(*trusted);
  return std::make_shared<const net::ProxyPolicy>(std::move(policy));
}

Entrance::Entrance(const std::string& listener, metric::Registry& registry)
    : listener_(listener),
      leases_(registry),
      metrics_(make_listener_metrics(listener, leases_)),
      limit_(leases_.gauge(register_metric(registry, "fiberd_listener_connections_limit"), {listener})),
      counts_(metrics_.connections) {}

void Entrance::use(std::shared_ptr<const net::ProxyPolicy> policy, const net::Serving& serving,
                   net::OnStream on_stream) {
  if (policy != nullptr && proxy_metrics_ == nullptr) proxy_metrics_ = make_proxy_metrics(listener_, leases_);
  net::Proxied proxied{.policy = std::move(policy),
                       .on_stream = on_stream,
                       .argument = serving.argument,
                       .serving = serving,
                       .metrics = proxy_metrics_.get(),
                       .name = listener_};
  proxied.serving.metrics = &metrics_;
  limit_.set(static_cast<std::int64_t>(serving.connections));
  proxies_.use(std::move(proxied));
}

net::Serving Entrance::serving(const net::ProxyPolicy* policy, net::Serving serving) noexcept {
  serving.counts = &counts_;
  serving.metrics = &metrics_;
  serving.name = listener_;
  limit_.set(static_cast<std::int64_t>(serving.connections));
  return policy != nullptr ? proxies_.in_front(serving) : serving;
}

}  // namespace fiberd::daemon
