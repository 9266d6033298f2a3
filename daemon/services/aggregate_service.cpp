#include "daemon/services/aggregate_service.hpp"

namespace fiberd::daemon {

static const config::AggregateConfig& config_of(const config::ListenerConfig& listener) {
  return std::get<config::AggregateConfig>(listener.service);
}

AggregateService::AggregateService(const config::ListenerConfig& listener, const Surroundings& with,
                                   const AggregateService* before)
    : Service(listener.name, "aggregate"),
      connections_(config_of(listener).connections),
      connections_per_address_(config_of(listener).connections_per_address),
      aggregate_(before != nullptr ? before->aggregate_
                                   : std::make_shared<aggregate::Service>(listener.name, config_of(listener),
                                                                          with.runtime.gomaxprocs(), with.registry)),
      room_{&with.room, nullptr} {}

Result<void> AggregateService::bind_others(const net::Endpoint& at, bool dual_stack) {
  if (!aggregate_->wants_udp()) return {};
  return aggregate_->bind_udp(at, dual_stack);
}

net::Serving AggregateService::serving() noexcept {
  return {.on_accept = &TcpServer::on_accept,
          .argument = aggregate_->tcp(),
          .connections = connections_,
          .connections_per_address = connections_per_address_,
          .gate = {},
          .make_room = room_.make_room()};
}

std::string AggregateService::describe() const {
  if (!wants_tcp()) return "aggregate, udp";
  return aggregate_->wants_udp() ? "aggregate, tcp and udp" : "aggregate, tcp";
}

std::string AggregateService::other_address() const {
  return wants_tcp() ? std::string() : aggregate_->udp_address().to_string();
}

}  // namespace fiberd::daemon
