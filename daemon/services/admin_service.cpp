#include "daemon/services/admin_service.hpp"

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/observe/catalogue.hpp"
#include "daemon/admin/admin_guard.hpp"
#include "daemon/admin/admin_token.hpp"
#include "daemon/admin/plain_text.hpp"
#include "daemon/console/console.hpp"

namespace fiberd::daemon {

using observe::register_metric;

struct AdminService::Counted {
  Counted(metric::Registry& registry, const std::string& listener)
      : leases(registry), families(status_families(Whose::admin, registry)), name(listener), pages(of("pages")) {}
  metric::StatusCounters* of(std::string_view route) {
    return all
        .emplace_back(
            std::make_unique<metric::StatusCounters>(leases.registry(), families, name, route, http::kMethodLabels))
        .get();
  }
  metric::Leases leases;
  const metric::StatusFamilies families;
  const std::string name;
  std::vector<std::unique_ptr<metric::StatusCounters>> all;
  metric::StatusCounters* const pages;  // all but those that programs ask for all day
};

bool AdminService::furnish(AdminService& service, http::SiteOptions options, std::vector<http::Route> routes,
                           const std::shared_ptr<Counted>& counted, const Surroundings& with,
                           const AdminService* before, Failure& why) {
  const std::string& name = service.name();
  options.name = name;
  options.keeps_slow = false;  // a profile of 30 s lasts 30 s
  options.timeouts.drain = with.config.shutdown.idle;
  options.metrics = make_server_metrics(name, counted->leases);
  options.metrics.unrouted = counted->pages;
  options.filters.insert(options.filters.begin(), make_admin_fields());
  options.keeps = counted;
  for (http::Route& route : routes) {
    const std::string_view path = route.spec.path;
    route.counters = path == "/metrics" || path == "/healthz" || path == "/readyz" ? counted->of(path) : counted->pages;
  }
  auto site =
      http::Site::make(std::move(options), std::move(routes), before != nullptr ? before->site_.get() : nullptr);
  if (!site) {
    why = {name + ": " + site.error().message(), ExitCode::runtime_failure};
    return false;
  }
  service.site_ = std::move(*site);
  if (before == nullptr) service.server_ = std::make_shared<HttpServer>(Whose::admin, name, with.registry);
  return true;
}

std::unique_ptr<AdminService> AdminService::provision(
    const config::AdminConfig& config, AdminState& state,
    const std::vector<std::shared_ptr<const aggregate::Service>>& aggregates, const Surroundings& with,
    const AdminService* before, Failure& why) {
  std::unique_ptr<AdminService> service(new AdminService(with.room, "admin"));
  const auto counted = std::make_shared<Counted>(with.registry, "admin");
  http::SiteOptions options;
  options.error_pages.push_back({404, std::string(kPlainText), "404 Not Found: / lists the pages\n"});
  // Who can reach a Unix socket has been let in by its mode; a browser reaches ports only.
  if (!config.address.starts_with("unix:")) answer_own_hosts_only(options, config.hosts);
  metric::Family& refused = register_metric(with.registry, "fiberd_admin_refused_total");
  metric::Counter& browser = counted->leases.counter(refused, {"browser"});
  if (!config.token_file.empty()) {
    std::string wrong;
    auto token = AdminToken::open(config.token_file, wrong);
    if (!token) {
      why = {"admin.token_file: " + wrong, ExitCode::bad_usage};
      return nullptr;
    }
    options.filters.push_back(make_admin_guard({.token = std::move(*token),
                                                .hosts = options.hosts,
                                                .address_hosts = options.address_hosts,
                                                .no_token = &counted->leases.counter(refused, {"no_token"}),
                                                .wrong_token = &counted->leases.counter(refused, {"wrong_token"})}));
  }
  std::vector<http::Route> routes = admin_routes(state);
  for (http::Route& route : aggregate::pages(aggregates)) routes.push_back(std::move(route));
  for (http::Route& route : console_pages(routes)) routes.push_back(std::move(route));
  routes.push_back(admin_index(routes));
  metric::Family& posts = register_metric(with.registry, "fiberd_admin_posts_total");
  for (http::Route& route : routes)
    if (route.spec.methods.has(http::Method::post))
      route.filters.insert(route.filters.begin(),
                           make_post_guard({.path = route.spec.path,
                                            .posts = &counted->leases.counter(posts, {route.spec.path}),
                                            .browser = &browser}));
  if (!furnish(*service, std::move(options), std::move(routes), counted, with, before, why)) return nullptr;
  return service;
}

std::unique_ptr<AdminService> AdminService::provision_metrics(AdminState& state, const Surroundings& with,
                                                              const AdminService* before, Failure& why) {
  std::unique_ptr<AdminService> service(new AdminService(with.room, "metrics"));
  const auto counted = std::make_shared<Counted>(with.registry, "metrics");
  http::SiteOptions options;
  options.body_size = 0;  // nobody has anything to tell it
  if (!furnish(*service, std::move(options), scrape_routes(state), counted, with, before, why)) return nullptr;
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
  const bool own = name() == "admin";
  // When descriptors run out is when somebody wants to know.
  return server_->entrance().serving(nullptr, {.on_accept = &HttpServer::on_accept,
                                               .argument = server_.get(),
                                               .wants_client = true,
                                               .connections = own ? kAdminConnections : kMetricsConnections,
                                               .connections_per_address = own ? 0 : kMetricsConnectionsPerAddress,
                                               .make_room = room_.make_room()});
}

}  // namespace fiberd::daemon
