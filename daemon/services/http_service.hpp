#pragma once
// The service of an HTTP listener: from its configuration to a site, with handlers, gates, counters and access log.
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/base/result.hpp"
#include "core/http/files/open_files.hpp"
#include "core/metric/registry.hpp"
#include "daemon/failure.hpp"
#include "daemon/gates.hpp"
#include "daemon/provision.hpp"
#include "daemon/service.hpp"
#include "daemon/services/access_logs.hpp"
#include "daemon/services/http_server.hpp"

namespace fiberd::daemon {

class HttpService final : public Service {
 public:
  /// `parts` are the listener's, as provision_http made them; `before` (may be null) is the service of the same
  /// listener that this one is to follow. Null: `why` says which key cannot be had and why.
  [[nodiscard]] static std::unique_ptr<HttpService> provision(const config::ListenerConfig& listener, HttpParts parts,
                                                              const Surroundings& with, const HttpService* before,
                                                              Failure& why);

  [[nodiscard]] Result<void> start() override;
  void adopt(Service& before) override;
  [[nodiscard]] net::Serving serving() noexcept override;
  void begin_stop() noexcept override { server_->begin_stop(); }
  std::size_t drain(const std::atomic<std::int64_t>& deadline) override { return server_->stop(deadline); }
  [[nodiscard]] std::shared_ptr<HttpServer> http_server() const noexcept override { return server_; }
  [[nodiscard]] std::shared_ptr<const net::ConnectionCounts> counts() const noexcept override {
    return {server_, &server_->entrance().counts()};
  }
  [[nodiscard]] std::vector<std::shared_ptr<const void>> ends_on_fibers() const override {
    return gates_.with_workers();
  }

 private:
  HttpService(const config::ListenerConfig& listener, const config::HttpConfig& http, const Surroundings& with);
  [[nodiscard]] net::Serving served() noexcept;
  void serve();

  const std::size_t connections_;
  const std::size_t connections_per_address_;
  const std::shared_ptr<const net::ProxyPolicy> proxy_policy_;
  AccessLogs access_logs_;
  Gates gates_;
  std::shared_ptr<const http::Site> site_;
  std::shared_ptr<HttpServer> server_;
  const net::AcceptGate memory_;
  Encryption encryption_;
  RoomOfListener room_;
};

/// What all routes with files share. `before` is kept if its settings are the same; may be null.
[[nodiscard]] std::shared_ptr<http::OpenFiles> make_open_files(const config::FileCacheConfig& config,
                                                               metric::Registry& registry);

}  // namespace fiberd::daemon
