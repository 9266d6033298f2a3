#include "daemon/services/aggregate_service.hpp"

#include <algorithm>

namespace fiberd::daemon {

static const config::AggregateConfig& config_of(const config::ListenerConfig& listener) {
  return std::get<config::AggregateConfig>(listener.service);
}

AggregateService::AggregateService(const config::ListenerConfig& listener, const Surroundings& with,
                                   const AggregateService* before)
    : Service(listener.name, "aggregate"),
      connections_(config_of(listener).connections),
      connections_per_address_(config_of(listener).connections_per_address),
      proxy_policy_(make_proxy_policy(listener, with.config, kProxyHeaderTimeout)),
      before_(before),
      inherited_(with.inherited),
      aggregate_(before != nullptr ? before->aggregate_
                                   : std::make_shared<aggregate::Service>(
                                         listener.name, config_of(listener), with.runtime.gomaxprocs(), with.registry,
                                         &with.memory.pressure(),
                                         context::with_value(context::background(), trace::kSource, with.traces))),
      memory_(with.memory.connections()),
      room_{&with.room, nullptr} {}

bool AggregateService::has(const net::UdpSocket& socket) const noexcept {
  return std::any_of(udp_.begin(), udp_.end(), [&](const Datagrams& d) { return d.socket.get() == &socket; });
}

/// What the one before has at this address, and we do not have yet.
const AggregateService::Datagrams* AggregateService::find_before(const std::string& address,
                                                                 const net::Endpoint& at) const {
  if (before_ == nullptr) return nullptr;
  for (const Datagrams& d : before_->udp_) {
    const bool same = at.port() == 0 ? d.address == address : d.socket->local().to_string() == at.to_string();
    if (same && !has(*d.socket)) return &d;
  }
  return nullptr;
}

Result<void> AggregateService::bind_others(const std::string& address, const net::Endpoint& at, bool dual_stack) {
  if (!aggregate_->wants_udp()) return {};
  if (const Datagrams* const kept = find_before(address, at)) {
    udp_.push_back({address, kept->socket, false, kept->keeper});
    return {};
  }
  auto inherited = inherited_ != nullptr ? inherited_->take(name(), address, true) : nullptr;
  const bool in_use = inherited != nullptr && inherited->handed;
  if (in_use) aggregate_->take_later();
  auto socket = inherited != nullptr ? aggregate_->adopt_udp(inherited->descriptors.front().release(), in_use)
                                     : aggregate_->bind_udp(at, dual_stack);
  if (!socket) return fail(socket.error());
  udp_.push_back({address, std::move(*socket), true, inherited != nullptr ? inherited->keeper : net::Keeper::nobody});
  return {};
}

std::vector<Service::OtherSocket> AggregateService::other_sockets() const {
  std::vector<OtherSocket> all;
  for (const Datagrams& d : udp_) all.push_back({d.address, d.socket->native_handle(), d.keeper});
  return all;
}

void AggregateService::note_stored(const std::string& name) noexcept {
  for (Datagrams& d : udp_)
    if (d.keeper == net::Keeper::nobody && stored_name(this->name(), d.address) == name) d.keeper = net::Keeper::store;
}

bool AggregateService::has_other(const std::string& address) const {
  return std::any_of(udp_.begin(), udp_.end(), [&](const Datagrams& d) { return d.address == address; });
}

Result<void> AggregateService::start() {
  if (const Result<void> started = aggregate_->start(); !started) return started;
  if (aggregate_->entrance() != nullptr) aggregate_->entrance()->use(proxy_policy_, served(), &TcpServer::on_stream);
  return start_more();
}

Result<void> AggregateService::start_more() {
  for (const Datagrams& d : udp_)
    if (d.fresh)
      if (const Result<void> reading = aggregate_->read(d.socket); !reading) return reading;
  return {};
}

void AggregateService::undo_more() noexcept {
  for (const Datagrams& d : udp_)
    if (d.fresh) aggregate_->leave(*d.socket);
}

void AggregateService::adopt(Service& before) {
  for (const Datagrams& d : static_cast<AggregateService&>(before).udp_)
    if (!has(*d.socket)) aggregate_->leave(*d.socket);
  before_ = nullptr;
  if (aggregate_->entrance() != nullptr) aggregate_->entrance()->use(proxy_policy_, served(), &TcpServer::on_stream);
}

net::Serving AggregateService::served() noexcept {
  return {.on_accept = &TcpServer::on_accept,
          .argument = aggregate_->tcp(),
          .connections = connections_,
          .connections_per_address = connections_per_address_,
          .memory = memory_,
          .gate = {},
          .make_room = room_.make_room()};
}

net::Serving AggregateService::serving() noexcept {
  return aggregate_->entrance()->serving(proxy_policy_.get(), served());
}

std::shared_ptr<const net::ConnectionCounts> AggregateService::counts() const noexcept {
  return wants_tcp() ? std::shared_ptr<const net::ConnectionCounts>(aggregate_, &aggregate_->entrance()->counts())
                     : nullptr;
}

std::string AggregateService::describe() const {
  if (!wants_tcp()) return "aggregate, udp";
  return aggregate_->wants_udp() ? "aggregate, tcp and udp" : "aggregate, tcp";
}

std::vector<std::string> AggregateService::other_addresses() const {
  std::vector<std::string> addresses;
  if (!wants_tcp())
    for (const Datagrams& d : udp_) addresses.push_back(d.socket->local().to_string());
  return addresses;
}

}  // namespace fiberd::daemon
