#pragma once
// Entrance: how connections reach the service of one listener, for as long as it lives, over all configurations and at
// all of its addresses: who counts them, and who reads the headers of proxies in front of us.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "config/config.hpp"
#include "core/metric/registry.hpp"
#include "core/net/connection_counts.hpp"
#include "core/net/listener.hpp"
#include "core/net/proxy_acceptor.hpp"

namespace fiberd::daemon {

/// As the configuration has it; null: no headers are read. `header_timeout`: for one header.
[[nodiscard]] std::shared_ptr<const net::ProxyPolicy> make_proxy_policy(const config::ListenerConfig& listener,
                                                                        const config::Config& config,
                                                                        std::chrono::nanoseconds header_timeout);
/// Of services that have no such key.
inline constexpr std::chrono::nanoseconds kProxyHeaderTimeout = std::chrono::seconds(10);

class Entrance {
 public:
  /// Throws as Registry does.
  Entrance(const std::string& listener, metric::Registry& registry);
  Entrance(const Entrance&) = delete;
  Entrance& operator=(const Entrance&) = delete;

  /// From now on connections are served so, and those from proxies are handed to `on_stream` when it is known whose
  /// they are. `argument` is that of `serving`. On a fiber, or before there is a connection. Throws as Registry does.
  void use(std::shared_ptr<const net::ProxyPolicy> policy, const net::Serving& serving, net::OnStream on_stream);
  /// What the listener's sockets are given for `serving`: its connections are counted here.
  [[nodiscard]] net::Serving serving(const net::ProxyPolicy* policy, net::Serving serving) noexcept;
  /// When no socket accepts any more, and before the service is stopped. As net::ProxyAcceptor::drain().
  void drain(const std::atomic<std::int64_t>& deadline) noexcept { proxies_.drain(deadline); }
  [[nodiscard]] const net::ConnectionCounts& counts() const noexcept { return counts_; }

 private:
  const std::string listener_;
  metric::Leases leases_;
  const net::ListenerMetrics metrics_;
  metric::Gauge& limit_;
  std::unique_ptr<const net::ProxyMetrics> proxy_metrics_;  // since there was a policy
  net::ConnectionCounts counts_;
  net::ProxyAcceptor proxies_;
};

}  // namespace fiberd::daemon
