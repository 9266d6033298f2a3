#pragma once
// From a listener's configuration to an http::Server: handlers, counters, access log.
#include <memory>
#include <string>

#include "config/config.hpp"
#include "core/base/result.hpp"
#include "core/http/open_files.hpp"
#include "core/http/server.hpp"
#include "core/metric/registry.hpp"
#include "core/net/listener.hpp"
#include "daemon/access_log.hpp"
#include "daemon/handlers.hpp"

namespace fiberd::daemon {

struct HttpService {
  std::unique_ptr<http::Server> server;
  std::shared_ptr<AccessLog> access_log;  ///< null: off; who made the service gives it a writer
  std::vector<std::unique_ptr<metric::StatusCounters>> counters;
  std::vector<metric::CallbackHandle> gate_metrics;  ///< last: they go first
};

/// What all routes with files share.
[[nodiscard]] std::shared_ptr<http::OpenFiles> make_open_files(const config::FileCacheConfig& config,
                                                               metric::Registry& registry);

/// Provisions everything a listener needs but its socket. On failure `error` says which key cannot be had and why.
[[nodiscard]] Result<HttpService> make_http_service(const std::string& listener, const config::HttpConfig& config,
                                                    const config::ShutdownConfig& shutdown, const Handlers& handlers,
                                                    const std::shared_ptr<http::OpenFiles>& open_files,
                                                    metric::Registry& registry, std::string& error);

/// The counters of a server that is no route's: used by make_http_service and the admin server.
[[nodiscard]] http::ServerMetrics make_server_metrics(const std::string& listener, metric::Registry& registry);
[[nodiscard]] net::ListenerMetrics make_listener_metrics(const std::string& listener, metric::Registry& registry);
/// Counters of the answers of one route; `route` is its path, or "none" for answers that no route gave.
[[nodiscard]] std::unique_ptr<metric::StatusCounters> make_route_counters(const std::string& listener,
                                                                          const std::string& route,
                                                                          metric::Registry& registry);

}  // namespace fiberd::daemon
