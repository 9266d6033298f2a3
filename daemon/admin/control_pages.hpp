#pragma once
// The pages that change something about how the daemon runs: log levels, memory, dumps; and schedtrace. What guards all
// of them: admin_guard.hpp.
#include <vector>

#include "core/http/site/site.hpp"
#include "daemon/admin/admin.hpp"

namespace fiberd::daemon {

/// GET /debug/log (the modules and their levels), POST /debug/log?module=http&level=debug[&for=10m] (module=all for
/// all; level=configured ends what was asked for; 400 names what there is), POST /debug/trim, POST /debug/dump, GET
/// /debug/sched, POST /debug/schedtrace?period=1s[&detail=1]. `state` must outlive the server.
[[nodiscard]] std::vector<http::Route> control_pages(AdminState& state);

}  // namespace fiberd::daemon
