#pragma once
// The service of the admin listener.
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

class AdminService final : public Service {
 public:
  /// With the pages of `aggregates`. `state` is the process's. As HttpService::provision.
  [[nodiscard]] static std::unique_ptr<AdminService> provision(
      const config::AdminConfig& config, AdminState& state,
      const std::vector<std::shared_ptr<const aggregate::Service>>& aggregates, const Surroundings& with,
      const AdminService* before, Failure& why);

  [[nodiscard]] Result<void> start() override;
  void adopt(Service& before) override;
  [[nodiscard]] net::Serving serving() noexcept override;
  void begin_stop() noexcept override { server_->begin_stop(); }
  std::size_t drain(const std::atomic<std::int64_t>& deadline) override { return server_->stop(deadline); }
  [[nodiscard]] std::string describe() const override { return "admin: /metrics /healthz /readyz"; }

 private:
  explicit AdminService(Room& room) : Service("admin", "admin"), room_{&room, nullptr} {}
  std::shared_ptr<const http::Site> site_;
  std::shared_ptr<HttpServer> server_;
  RoomOfListener room_;
};

}  // namespace fiberd::daemon
