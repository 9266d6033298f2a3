#pragma once
// The service of a TCP listener.
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/metric/registry.hpp"
#include "daemon/failure.hpp"
#include "daemon/gates.hpp"
#include "daemon/service.hpp"
#include "daemon/services/entrance.hpp"
#include "daemon/services/tcp_server.hpp"

namespace fiberd::daemon {

class TcpService final : public Service {
 public:
  /// As HttpService::provision.
  [[nodiscard]] static std::unique_ptr<TcpService> provision(const config::ListenerConfig& listener,
                                                             const Surroundings& with, const TcpService* before,
                                                             Failure& why);

  [[nodiscard]] Result<void> start() override;
  void adopt(Service& before) override;
  [[nodiscard]] net::Serving serving() noexcept override;
  std::size_t drain(const std::atomic<std::int64_t>& deadline) override {
    server_->entrance.drain(deadline);
    return server_->server.stop(deadline);
  }
  [[nodiscard]] std::shared_ptr<const net::ConnectionCounts> counts() const noexcept override {
    return {server_, &server_->entrance.counts()};
  }
  [[nodiscard]] std::shared_ptr<Queues> queues() const noexcept override { return {server_, &server_->server}; }
  [[nodiscard]] std::vector<std::shared_ptr<const void>> ends_on_fibers() const override {
    return gates_.with_workers();
  }

 private:
  /// Over all configurations.
  struct Server {
    Server(std::shared_ptr<const TcpSite> site, const std::string& listener, metric::Registry& registry,
           const context::Context& above);
    metric::Leases leases;
    Entrance entrance;
    TcpServer server;
  };
  TcpService(const config::ListenerConfig& listener, const config::TcpConfig& tcp, const Surroundings& with);
  [[nodiscard]] net::Serving served() noexcept;

  const std::size_t connections_;
  const std::size_t connections_per_address_;
  const std::shared_ptr<const net::ProxyPolicy> proxy_policy_;
  Gates gates_;
  std::shared_ptr<http::Gate> gate_;
  bool rate_limited_ = false;
  std::shared_ptr<const TcpSite> site_;
  std::shared_ptr<Server> server_;
  const net::AcceptGate memory_;
  RoomOfListener room_;
};

/// The counters of a TcpServer; valid as long as the leases.
[[nodiscard]] TcpServerMetrics make_tcp_metrics(const std::string& listener, metric::Leases& leases);

}  // namespace fiberd::daemon
