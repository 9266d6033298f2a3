#include "daemon/http_service.hpp"

#include <cerrno>
#include <filesystem>
#include <fstream>

#include "core/http/files.hpp"
#include "core/http/handlers.hpp"
#include "core/http/mime.hpp"
#include "core/observe/catalogue.hpp"
#include "daemon/gates.hpp"

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

static Result<std::shared_ptr<http::Handler>> make_handler(const config::RouteAction& action, const Handlers& handlers,
                                                           const std::shared_ptr<http::OpenFiles>& open_files,
                                                           const std::string& server) {
  if (const auto* named = std::get_if<config::HandlerAction>(&action)) {
    if (std::shared_ptr<http::Handler> handler = handlers.http(named->name)) return handler;
    return fail(std::errc::function_not_supported);
  }
  if (const auto* respond = std::get_if<config::RespondAction>(&action))
    return http::make_respond_handler(
        {respond->status, respond->content_type, respond->body, respond->headers, server});
  if (const auto* redirect = std::get_if<config::RedirectAction>(&action))
    return http::make_redirect_handler({redirect->location, redirect->status, server});
  if (const auto* files = std::get_if<config::FilesAction>(&action))
    return http::make_files_handler({.root = files->root,
                                     .index = files->index,
                                     .kept = open_files,
                                     .cache_control = files->cache_control,
                                     .precompressed = files->precompressed,
                                     .try_files = files->try_files,
                                     .fallback = files->fallback,
                                     .listing = files->listing,
                                     .ranges = files->ranges});
  return http::make_echo_handler();
}

static Result<http::ErrorPage> read_error_page(unsigned status, const std::string& path) {
  static constexpr std::size_t kMost = std::size_t{64} * 1024;
  // A FIFO would be waited for.
  std::error_code unknown;
  if (const auto type = std::filesystem::status(path, unknown).type();
      type != std::filesystem::file_type::regular && type != std::filesystem::file_type::not_found)
    return unknown ? fail(unknown) : fail(std::errc::invalid_argument);
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  http::ErrorPage page{status, std::string(http::media_type_for(path)), std::string(kMost + 1, '\0')};
  in.read(page.body.data(), static_cast<std::streamsize>(page.body.size()));
  if (!in.is_open() || in.bad()) return fail_errno(errno != 0 ? -errno : -EIO);
  if (in.gcount() > static_cast<std::streamsize>(kMost)) return fail(std::errc::file_too_large);
  page.body.resize(static_cast<std::size_t>(in.gcount()));
  return page;
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
  for (const auto& [status, file] : config.error_pages) {
    Result<http::ErrorPage> page = read_error_page(status, file);
    if (!page) {
      error = "error_pages: " + std::to_string(status) + ": " + file + ": " + page.error().message();
      return fail(page.error());
    }
    options.error_pages.push_back(std::move(*page));
  }
  if (config.access_log.format != config::AccessLogFormat::off) {
    service.access_log = std::make_shared<AccessLog>(
        config.access_log.format == config::AccessLogFormat::json ? AccessFormat::json : AccessFormat::common, listener,
        &registry.counter(register_metric(registry, "fiberd_access_log_dropped_total"), {listener}));
    options.access_log = service.access_log->hook();
  }

  std::vector<http::Route> routes;
  for (const config::RouteConfig& r : config.routes) {
    http::Route route;
    route.spec.path = r.path;
    route.spec.host = r.host;
    if (!r.methods.empty()) {
      route.spec.methods = {};
      for (const std::string& method : r.methods)
        route.spec.methods = route.spec.methods | http::MethodSet::of(http::method_from(method));
    } else if (std::holds_alternative<config::FilesAction>(r.action)) {
      route.spec.methods = http::MethodSet::of(http::Method::get);
    }
    auto handler = make_handler(r.action, handlers, open_files, config.server);
    if (!handler) {
      const auto* files = std::get_if<config::FilesAction>(&r.action);
      const auto* named = std::get_if<config::HandlerAction>(&r.action);
      error = "route " + r.path + ": " + (files != nullptr ? "files.root " + files->root + ": " : std::string()) +
              (named != nullptr ? "handler " + named->name + ": " : std::string()) + handler.error().message();
      return fail(handler.error());
    }
    route.handler = std::move(*handler);
    route.body_size = r.body_size;
    route.require_length = r.require_length;
    route.request_timeout = r.timeout;
    route.gate = make_gate(r.flow, listener, route_label(r), r.timeout.value_or(config.timeouts.request), registry,
                           service.gate_metrics);
    service.counters.push_back(make_route_counters(listener, route_label(r), registry));
    route.counters = service.counters.back().get();
    routes.push_back(std::move(route));
  }
  auto server = http::Server::make(std::move(options), std::move(routes));
  if (!server) {
    error = "routes: " + server.error().message();
    return fail(server.error());
  }
  service.server = std::move(*server);
  return service;
}

}  // namespace fiberd::daemon
