#pragma once
// The admin page of the flight recorder: /debug/trace.
#include <vector>

#include "core/http/server.hpp"

namespace fiberd::daemon {

/// GET /debug/trace: what the recorder holds; ?seconds=5: what it records from now on for so long (a minute at most).
/// Perfetto's protobuf, streamed. One at a time: 409 for another. 501 where trace.buffer is 0.
[[nodiscard]] std::vector<http::Route> trace_pages();

}  // namespace fiberd::daemon
