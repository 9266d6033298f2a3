#pragma once
// rate_limit, concurrency and worker_pool, wherever they stand.
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

enum class FlowOf : std::uint8_t { requests, connections };

/// Of a listener's service or a route; `nameless`: their clients have no addresses. What is wrong is reported through
/// `at`.
[[nodiscard]] FlowConfig read_flow(const Reader& at, FlowOf what, bool nameless);

}  // namespace fiberd::config
