#include "daemon/services/http_service.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "core/observe/catalogue.hpp"
#include "daemon/let_go.hpp"
#include "daemon/process_setup.hpp"

namespace fiberd::daemon {

using observe::register_metric;

std::shared_ptr<http::OpenFiles> make_open_files(const config::FileCacheConfig& config, metric::Registry& registry) {
  http::OpenFilesMetrics m;
  m.files = &registry.gauge(register_metric(registry, "fiberd_file_cache_files"), {});
  m.descriptors = &registry.gauge(register_metric(registry, "fiberd_file_cache_descriptors"), {});
  m.memory = &registry.gauge(register_metric(registry, "fiberd_file_cache_memory_bytes"), {});
  metric::Family& lookups = register_metric(registry, "fiberd_file_cache_lookups_total");
  m.hits = &registry.counter(lookups, {"hit"});
  m.misses = &registry.counter(lookups, {"miss"});
  m.renewed = &registry.counter(lookups, {"renewed"});
  metric::Family& evicted = register_metric(registry, "fiberd_file_cache_evicted_total");
  m.evicted_room = &registry.counter(evicted, {"room"});
  m.evicted_age = &registry.counter(evicted, {"age"});
  m.evicted_shortage = &registry.counter(evicted, {"shortage"});
  return std::make_shared<http::OpenFiles>(
      http::OpenFilesOptions{.files = config.files, .memory = config.memory, .age = config.age}, m);
}

/// The label of a route: its path, with host and methods where they tell routes of one path apart.
static std::string route_label(const config::RouteConfig& route) {
  std::string label = route.host + route.path;
  for (std::size_t i = 0; i < route.methods.size(); ++i) label += (i == 0 ? " " : ",") + route.methods[i];
  return label;
}

namespace {

/// What a site's pointers point to: it goes when the last request that the site answers has been accounted for.
struct SiteState {
  explicit SiteState(metric::Registry& registry) : leases(registry) {}
  metric::StatusCounters* count_for(const metric::StatusFamilies& families, const std::string& listener,
                                    const std::string& route) {
    counters.push_back(
        std::make_unique<metric::StatusCounters>(leases.registry(), families, listener, route, http::kMethodLabels));
    return counters.back().get();
  }
  metric::Leases leases;
  std::shared_ptr<metric::Leases> filters;
  std::vector<std::unique_ptr<metric::StatusCounters>> counters;
  std::vector<std::shared_ptr<AccessLog>> access_logs;
};

http::SiteOptions options_of(const config::HttpConfig& config, const config::ShutdownConfig& shutdown) {
  http::SiteOptions options;
  options.timeouts = {.header = config.timeouts.header,
                      .body = config.timeouts.body,
                      .request = config.timeouts.request,
                      .write = config.timeouts.write,
                      .idle = config.timeouts.idle,
                      .grace = config.timeouts.grace,
                      .age = config.timeouts.age,
                      .drain = shutdown.idle};
  options.head.header_size = static_cast<std::uint32_t>(config.limits.header_size);
  options.head.header_fields = config.limits.header_fields;
  options.head.target_size = static_cast<std::uint32_t>(config.limits.target_size);
  options.body_size = config.limits.body_size;
  options.body_rate = config.limits.body_rate;
  options.write_rate = config.limits.write_rate;
  options.requests = config.limits.requests;
  options.http2 = {
      .prior_knowledge = config.h2c,
      .by_upgrade = config.http2.upgrade,
      .max_streams = config.http2.max_streams,
      .stream_window = static_cast<std::uint32_t>(std::min(config.http2.stream_window, config.http2.connection_window)),
      .connection_window = static_cast<std::uint32_t>(config.http2.connection_window),
      .glitches = config.http2.glitches};
  options.hosts = config.hosts;
  options.server_name = config.server;
  return options;
}

}  // namespace

HttpService::HttpService(const config::ListenerConfig& listener, const config::HttpConfig& http,
                         const Surroundings& with)
    : Service(listener.name, "http"),
      connections_(http.limits.connections),
      connections_per_address_(http.limits.connections_per_address),
      proxy_policy_(make_proxy_policy(listener, with.config, http.timeouts.header)),
      memory_(with.memory.requests()),
      room_{&with.room, nullptr} {}

std::unique_ptr<HttpService> HttpService::provision(const config::ListenerConfig& listener, HttpParts parts,
                                                    const Surroundings& with, const HttpService* before, Failure& why) {
  const auto& config = std::get<config::HttpConfig>(listener.service);
  std::unique_ptr<HttpService> service(new HttpService(listener, config, with));
  const auto state = std::make_shared<SiteState>(with.registry);
  const metric::StatusFamilies families = status_families(Whose::listener, with.registry);
  http::SiteOptions options = options_of(config, with.config.shutdown);
  options.name = listener.name;
  options.metrics = make_server_metrics(listener.name, state->leases);
  options.metrics.unrouted = state->count_for(families, listener.name, "none");
  const Gates* const gates = before != nullptr ? &before->gates_ : nullptr;
  options.gate = service->gates_.make(config.flow, listener.name, "all", config.timeouts.request, with.registry, gates);
  options.error_pages = std::move(parts.error_pages);
  service->encryption_ = {.contexts = std::move(parts.tls),
                          .handshake = config.timeouts.handshake,
                          .handshakes = config.limits.handshakes,
                          .drain = with.config.shutdown.idle};
  options.filters = std::move(parts.filters);
  options.outermost = std::move(parts.outermost);
  state->filters = std::move(parts.leases);
  const auto log = [&](const config::AccessLogConfig& wanted, const std::string& part) {
    std::string error;
    auto hook = service->access_logs_.make(wanted, listener.name, with.registry, with.access_logs,
                                           before != nullptr ? &before->access_logs_ : nullptr, error);
    if (!hook)
      why = {"listener " + listener.name + ": " + part + "access_log.output " + wanted.output + ": " + error +
                 explain_shortage(hook.error()),
             code_of(hook.error(), ExitCode::bad_usage)};
    return hook;
  };
  auto hook = log(config.access_log, "");
  if (!hook) return nullptr;
  options.access_log = *hook;
  for (std::size_t i = 0; i < parts.routes.size(); ++i) {
    const config::RouteConfig& r = config.routes[i];
    const std::string label = route_label(r);
    parts.routes[i].gate = service->gates_.make(r.flow, listener.name, label,
                                                r.timeout.value_or(config.timeouts.request), with.registry, gates);
    if (r.access_log) {
      hook = log(*r.access_log, "route " + label + ": ");
      if (!hook) return nullptr;
      parts.routes[i].access_log = *hook;
    }
    parts.routes[i].label = label;
    parts.routes[i].counters = state->count_for(families, listener.name, label);
  }
  state->access_logs = service->access_logs_.all();
  options.keeps = state;
  options.pressure = &with.memory.pressure();
  options.tracer = with.tracer;
  auto site =
      http::Site::make(std::move(options), std::move(parts.routes), before != nullptr ? before->site_.get() : nullptr);
  if (!site) {
    why = {"listener " + listener.name + ": routes: " + site.error().message() + explain_shortage(site.error()),
           code_of(site.error(), ExitCode::bad_usage)};
    return nullptr;
  }
  service->site_ = ends_beside(std::move(*site), service->gates_.with_workers());
  if (before == nullptr) service->server_ = std::make_shared<HttpServer>(Whose::listener, listener.name, with.registry);
  return service;
}

void HttpService::serve() {
  server_->use(site_);
  server_->encrypt(encryption_);
  server_->entrance().use(proxy_policy_, served(), &HttpServer::on_stream);
}

Result<void> HttpService::start() {
  serve();
  return {};
}

void HttpService::adopt(Service& before) {
  server_ = static_cast<HttpService&>(before).server_;
  serve();
}

net::Serving HttpService::served() noexcept {
  room_.own = server_.get();
  return {.on_accept = &HttpServer::on_accept,
          .argument = server_.get(),
          .wants_client = true,
          .connections = connections_,
          .connections_per_address = connections_per_address_,
          .memory = memory_,
          .make_room = room_.make_room()};
}

net::Serving HttpService::serving() noexcept { return server_->entrance().serving(proxy_policy_.get(), served()); }

}  // namespace fiberd::daemon
