#pragma once
// The services of the admin listener, and of the one that has its first pages alone.
#include <cstddef>
#include <memory>
#include <vector>

#include "config/config.hpp"
#include "daemon/admin/admin.hpp"
#include "daemon/failure.hpp"
#include "daemon/service.hpp"
#include "daemon/services/aggregate/service.hpp"
#include "daemon/services/http_server.hpp"

namespace fiberd::daemon {

/// At once.
inline constexpr std::size_t kAdminConnections = 256;
inline constexpr std::size_t kMetricsConnections = 64;
/// Of these, from one address: scrapers and probes keep one or two.
inline constexpr std::size_t kMetricsConnectionsPerAddress = 16;

class AdminService final : public Service {
 public:
  /// With the pages of `aggregates`. `state` is the process's. As HttpService::provision.
  [[nodiscard]] static std::unique_ptr<AdminService> provision(
      const config::AdminConfig& config, AdminState& state,
      const std::vector<std::shared_ptr<const aggregate::Service>>& aggregates, const Surroundings& with,
      const AdminService* before, Failure& why);
  /// Named "metrics": /metrics, /healthz and /readyz alone, without a token and whatever the Host.
  [[nodiscard]] static std::unique_ptr<AdminService> provision_metrics(AdminState& state, const Surroundings& with,
                                                                       const AdminService* before, Failure& why);

  [[nodiscard]] Result<void> start() override;
  void adopt(Service& before) override;
  [[nodiscard]] net::Serving serving() noexcept override;
  void begin_stop() noexcept override { server_->begin_stop(); }
  std::size_t drain(const std::atomic<std::int64_t>& deadline) override { return server_->stop(deadline); }
  [[nodiscard]] std::string describe() const override { return name() + ": /metrics /healthz /readyz"; }

 private:
  struct Counted;
  AdminService(Room& room, const char* name) : Service(name, name), room_{&room, nullptr} {}
  /// `service` answers with these from its start on. False: `why`.
  [[nodiscard]] static bool furnish(AdminService& service, http::SiteOptions options, std::vector<http::Route> routes,
                                    const std::shared_ptr<Counted>& counted, const Surroundings& with,
                                    const AdminService* before, Failure& why);
  std::shared_ptr<const http::Site> site_;
  std::shared_ptr<HttpServer> server_;
  RoomOfListener room_;
};

}  // namespace fiberd::daemon
