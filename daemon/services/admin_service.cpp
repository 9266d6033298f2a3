#include "daemon/services/admin_service.hpp"

#include <utility>

#include "core/observe/catalogue.hpp"

namespace fiberd::daemon {

namespace {

struct SiteState {
  explicit SiteState(metric::Registry& registry)
      : leases(registry), counters(registry, status_families(registry), "admin", "admin") {}
  metric::Leases leases;
  metric::StatusCounters counters;
};

}  // namespace

std::unique_ptr<AdminService> AdminService::provision(
    const config::AdminConfig& config, AdminState& state,
    const std::vector<std::shared_ptr<const aggregate::Service>>& aggregates, const Surroundings& with,
    const AdminService* before, Failure& why) {
  std::unique_ptr<AdminService> service(new AdminService(with.room));
  const auto counted = std::make_shared<SiteState>(with.registry);
  http::SiteOptions options;
  options.timeouts.drain = with.config.shutdown.idle;
  // Who can reach a Unix socket has been let in by its mode; a browser reaches ports only.
  if (!config.address.starts_with("unix:")) answer_own_hosts_only(options, config.hosts);
  options.name = "admin";
  options.metrics = make_server_metrics("admin", counted->leases);
  options.metrics.unrouted = &counted->counters;
  options.keeps = counted;
  std::vector<http::Route> routes = admin_routes(state);
  for (http::Route& route : aggregate::pages(aggregates)) routes.push_back(std::move(route));
  routes.push_back(admin_index(routes));
  for (http::Route& route : routes) route.counters = &counted->counters;
  auto site =
      http::Site::make(std::move(options), std::move(routes), before != nullptr ? before->site_.get() : nullptr);
  if (!site) {
    why = {"admin: " + site.error().message(), ExitCode::runtime_failure};
    return nullptr;
  }
  service->site_ = std::move(*site);
  if (before == nullptr)
    service->server_ = std::make_shared<HttpServer>(HttpServer::Whose::admin, "admin", with.registry);
  return service;
}

Result<void> AdminService::start() {
  server_->use(site_);
  return {};
}

void AdminService::adopt(Service& before) {
  server_ = static_cast<AdminService&>(before).server_;
  server_->use(site_);
}

net::Serving AdminService::serving() noexcept {
  room_.own = server_.get();
  // When descriptors run out is when somebody wants to know.
  return server_->entrance().serving(nullptr, {.on_accept = &HttpServer::on_accept,
                                               .argument = server_.get(),
                                               .wants_client = true,
                                               .connections = kAdminConnections,
                                               .make_room = room_.make_room()});
}

}  // namespace fiberd::daemon
