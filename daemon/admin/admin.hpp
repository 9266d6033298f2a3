#pragma once
// The admin listener: /metrics, /healthz, /readyz, /debug/contexts and what services add, served by our own HTTP
// server.
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "core/http/server.hpp"
#include "core/observe/exporter.hpp"

namespace fiberd::daemon {

/// What the admin routes look at. Must outlive the server.
struct AdminState {
  const observe::Exporter* exporter = nullptr;
  std::atomic<bool> ready{false};  ///< /readyz: 200 while true, else 503
};

/// The routes of the admin server: /metrics, /healthz (200 when a fiber ran on every Processor within a second),
/// /readyz, /debug/contexts (who holds contexts, who forgets to cancel them).
[[nodiscard]] std::vector<http::Route> admin_routes(AdminState& state);

/// The pages have no password and are often on loopback, where every page of the web that the machine's users look at
/// reaches them: it cannot read another origin's answers, but its owner may turn its own name to 127.0.0.1. Then the
/// Host is that name. So only IP addresses, localhost and `hosts` are answered; 421 for others, which says what to do.
void answer_own_hosts_only(http::ServerOptions& options, const std::vector<std::string>& hosts);

/// The page / : a list of the pages in `routes`.
[[nodiscard]] http::Route admin_index(const std::vector<http::Route>& routes);

}  // namespace fiberd::daemon
