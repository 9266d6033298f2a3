#pragma once
// The service of a listener that aggregates.
//
// What passes to the next configuration: all of it. The aggregation goes on, with its series, its queues and its
// upstreams, as long as its listener stays; limits of connections and addresses may change. Its other settings shape
// that state, so they cannot change while it runs: reload_rules.cpp refuses them by name.
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/net/udp_socket.hpp"
#include "daemon/service.hpp"
#include "daemon/services/aggregate/service.hpp"

namespace fiberd::daemon {

class AggregateService final : public Service {
 public:
  /// `before` may be null. Throws as Registry does.
  AggregateService(const config::ListenerConfig& listener, const Surroundings& with, const AggregateService* before);

  [[nodiscard]] bool wants_tcp() const noexcept override { return aggregate_->wants_tcp(); }
  [[nodiscard]] Result<void> bind_others(const std::string& address, const net::Endpoint& at, bool dual_stack) override;
  [[nodiscard]] std::vector<OtherSocket> other_sockets() const override;
  void note_stored(const std::string& name) noexcept override;
  void take_others(bool taking) noexcept override { aggregate_->take_datagrams(taking); }
  [[nodiscard]] bool has_other(const std::string& address) const override;
  [[nodiscard]] Result<void> start() override;
  [[nodiscard]] Result<void> start_more() override;
  void undo_more() noexcept override;
  void adopt(Service& before) override;
  [[nodiscard]] net::Serving serving() noexcept override;
  std::size_t drain(const std::atomic<std::int64_t>& deadline) override { return aggregate_->stop(deadline); }
  [[nodiscard]] std::shared_ptr<const net::ConnectionCounts> counts() const noexcept override;
  [[nodiscard]] std::string describe() const override;
  [[nodiscard]] std::vector<std::string> other_addresses() const override;
  [[nodiscard]] std::shared_ptr<const aggregate::Service> aggregate() const noexcept { return aggregate_; }

 private:
  struct Datagrams {
    std::string address;  // as the configuration has it
    std::shared_ptr<net::UdpSocket> socket;
    bool fresh = true;  // not the one's before
    net::Keeper keeper = net::Keeper::nobody;
  };
  [[nodiscard]] const Datagrams* find_before(const std::string& address, const net::Endpoint& at) const;
  [[nodiscard]] bool has(const net::UdpSocket& socket) const noexcept;
  [[nodiscard]] net::Serving served() noexcept;

  const std::size_t connections_;
  const std::size_t connections_per_address_;
  const std::shared_ptr<const net::ProxyPolicy> proxy_policy_;
  const AggregateService* before_;  // until adopt()
  InheritedSockets* inherited_;     // until everything is bound
  std::shared_ptr<aggregate::Service> aggregate_;
  std::vector<Datagrams> udp_;
  const net::AcceptGate memory_;
  RoomOfListener room_;
};

}  // namespace fiberd::daemon
