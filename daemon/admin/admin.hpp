#pragma once
// The admin listener: /metrics, /healthz, /readyz, /debug/contexts and what services add, served by our own HTTP
// server.
#include <atomic>
#include <memory>
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

/// The page / : a list of the pages in `routes`.
[[nodiscard]] http::Route admin_index(const std::vector<http::Route>& routes);

}  // namespace fiberd::daemon
