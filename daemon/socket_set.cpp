#include "daemon/socket_set.hpp"

#include <algorithm>

#include "core/observe/catalogue.hpp"

namespace fiberd::daemon {

using observe::register_metric;

net::ListenerMetrics make_listener_metrics(const std::string& listener, metric::Leases& leases) {
  metric::Registry& registry = leases.registry();
  net::ListenerMetrics m;
  metric::Family& refused = register_metric(registry, "fiberd_listener_refused_total");
  m.accepted = &leases.counter(register_metric(registry, "fiberd_listener_accepted_total"), {listener});
  m.refused_limit = &leases.counter(refused, {listener, "limit"});
  m.refused_address = &leases.counter(refused, {listener, "address_limit"});
  m.refused_gate = &leases.counter(refused, {listener, "rate_limit"});
  m.refused_descriptors = &leases.counter(refused, {listener, "descriptors"});
  m.errors = &leases.counter(register_metric(registry, "fiberd_listener_accept_errors_total"), {listener});
  m.connections = &leases.gauge(register_metric(registry, "fiberd_listener_connections"), {listener});
  return m;
}

std::shared_ptr<BoundSocket> SocketSet::find(std::string_view listener, std::string_view address) const {
  for (const auto& s : all_)
    if (s->listener == listener && s->address == address) return s;
  return nullptr;
}

void SocketSet::remove(std::string_view listener) {
  std::erase_if(all_, [&](const auto& s) { return s->listener == listener; });
}

bool SocketSet::contains(const BoundSocket& socket) const noexcept {
  return std::any_of(all_.begin(), all_.end(), [&](const auto& s) { return s.get() == &socket; });
}

}  // namespace fiberd::daemon
