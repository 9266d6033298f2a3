#pragma once
// The admin pages about fibers: /debug/pprof/goroutine, which /debug/fibers is too, and /debug/pprof/cmdline beside it.
#include <vector>

#include "core/http/server.hpp"

namespace fiberd::daemon {

/// GET alone: nothing is changed. `?debug=2`: each fiber with its stack (observe::dump_fibers), streamed; `?debug=1`:
/// grouped; without: pprof's protobuf. `name`, `site`, `state`, `min_age` choose fibers (observe::FiberFilter); what is
/// no state or no duration is answered 400 with what is one.
[[nodiscard]] std::vector<http::Route> fiber_pages();

}  // namespace fiberd::daemon
