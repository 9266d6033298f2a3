#include "daemon/http_service.hpp"

#include "core/observe/catalogue.hpp"
#include "daemon/gates.hpp"
#include "daemon/provision.hpp"

namespace fiberd::daemon {

using observe::register_metric;

http::ServerMetrics make_server_metrics(const std::string& listener, metric::Registry& registry) {
  http::ServerMetrics m;
  m.active = &registry.gauge(register_metric(registry, "fiberd_listener_connections_active"), {listener});
  m.idle = &registry.gauge(register_metric(registry, "fiberd_listener_connections_idle"), {listener});
  metric::Family& refused = register_metric(registry, "fiberd_http_refused_total");
  for (std::size_t i = 1; i < m.rejects.size(); ++i)
    m.rejects[i] = &registry.counter(refused, {listener, http::token_of(static_cast<http::Reject>(i))});
  metric::Family& timeouts = register_metric(registry, "fiberd_http_timeouts_total");
  m.header_timeouts = &registry.counter(timeouts, {listener, "header"});
  m.body_timeouts = &registry.counter(timeouts, {listener, "body"});
  m.request_timeouts = &registry.counter(timeouts, {listener, "request"});
  m.write_timeouts = &registry.counter(timeouts, {listener, "write"});
  m.idle_timeouts = &registry.counter(timeouts, {listener, "idle"});
  m.body_rate = &registry.counter(timeouts, {listener, "body_rate"});
  m.write_rate = &registry.counter(timeouts, {listener, "write_rate"});
  metric::Family& reclaimed = register_metric(registry, "fiberd_http_reclaimed_total");
  m.reclaimed_idle = &registry.counter(reclaimed, {listener, "idle"});
  m.reclaimed_head = &registry.counter(reclaimed, {listener, "head"});
  m.reclaimed_end = &registry.counter(reclaimed, {listener, "end"});
  metric::Family& closed = register_metric(registry, "fiberd_http_closed_total");
  m.closed_unread_body = &registry.counter(closed, {listener, "unread_body"});
  m.closed_age = &registry.counter(closed, {listener, "age"});
  m.closed_requests = &registry.counter(closed, {listener, "requests"});
  m.closed_truncated = &registry.counter(closed, {listener, "truncated"});
  m.spawn_refused = &registry.counter(register_metric(registry, "fiberd_listener_refused_total"), {listener, "fibers"});
  m.panics = &registry.counter(register_metric(registry, "fiberd_http_handler_exceptions_total"), {listener});
  return m;
}

net::ListenerMetrics make_listener_metrics(const std::string& listener, metric::Registry& registry) {
  net::ListenerMetrics m;
  metric::Family& refused = register_metric(registry, "fiberd_listener_refused_total");
  m.accepted = &registry.counter(register_metric(registry, "fiberd_listener_accepted_total"), {listener});
  m.refused_limit = &registry.counter(refused, {listener, "limit"});
  m.refused_address = &registry.counter(refused, {listener, "address_limit"});
  m.refused_gate = &registry.counter(refused, {listener, "rate_limit"});
  m.refused_descriptors = &registry.counter(refused, {listener, "descriptors"});
  m.errors = &registry.counter(register_metric(registry, "fiberd_listener_accept_errors_total"), {listener});
  m.connections = &registry.gauge(register_metric(registry, "fiberd_listener_connections"), {listener});
  return m;
}

std::unique_ptr<metric::StatusCounters> make_route_counters(const std::string& listener, const std::string& route,
                                                            metric::Registry& registry) {
  return std::make_unique<metric::StatusCounters>(registry, register_metric(registry, "fiberd_http_requests_total"),
                                                  register_metric(registry, "fiberd_http_request_duration_seconds"),
                                                  listener, route);
}

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

Result<HttpService> make_http_service(const std::string& listener, const config::HttpConfig& config,
                                      const config::ShutdownConfig& shutdown, const Handlers& handlers,
                                      const std::shared_ptr<http::OpenFiles>& open_files, metric::Registry& registry,
                                      std::string& error) {
  HttpService service;
  http::ServerOptions options;
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
  options.hosts = config.hosts;
  options.server_name = config.server;
  options.metrics = make_server_metrics(listener, registry);
  service.counters.push_back(make_route_counters(listener, "none", registry));
  options.metrics.unrouted = service.counters.back().get();

  options.gate = make_gate(config.flow, listener, "all", config.timeouts.request, registry, service.gate_metrics);
  std::vector<Flaw> flaws;
  HttpParts parts = provision_http(config, handlers, open_files, flaws);
  if (!flaws.empty()) {
    error = flaws.front().diagnostic.to_string();
    return fail(flaws.front().error);
  }
  options.error_pages = std::move(parts.error_pages);
  if (config.access_log.format != config::AccessLogFormat::off) {
    service.access_log = std::make_shared<AccessLog>(
        config.access_log.format == config::AccessLogFormat::json ? AccessFormat::json : AccessFormat::common, listener,
        &registry.counter(register_metric(registry, "fiberd_access_log_dropped_total"), {listener}));
    options.access_log = service.access_log->hook();
  }

  for (std::size_t i = 0; i < parts.routes.size(); ++i) {
    const config::RouteConfig& r = config.routes[i];
    http::Route& route = parts.routes[i];
    route.gate = make_gate(r.flow, listener, route_label(r), r.timeout.value_or(config.timeouts.request), registry,
                           service.gate_metrics);
    service.counters.push_back(make_route_counters(listener, route_label(r), registry));
    route.counters = service.counters.back().get();
  }
  auto server = http::Server::make(std::move(options), std::move(parts.routes));
  if (!server) {
    error = "routes: " + server.error().message();
    return fail(server.error());
  }
  service.server = std::move(*server);
  return service;
}

}  // namespace fiberd::daemon
