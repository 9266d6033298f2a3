#pragma once
// The admin pages about fibers that wait for ever: /debug/leaks and /debug/pprof/goroutineleak.
#include <vector>

#include "core/http/server.hpp"
#include "core/observe/leak_report.hpp"

namespace fiberd::daemon {

/// GET alone. /debug/leaks: the last look of `watch`, which must outlive the routes, as text, or with ?format=json as
/// JSON; ?threshold=30s has a look made now (500: that failed; 400: no duration). /debug/pprof/goroutineleak: those
/// that are certain as pprof's protobuf, ?debug=1 or 2 as text; ?suspects=1 the others, too; ?threshold as above.
[[nodiscard]] std::vector<http::Route> leak_pages(observe::LeakWatch& watch);

}  // namespace fiberd::daemon
