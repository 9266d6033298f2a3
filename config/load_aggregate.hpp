#pragma once
// The section listeners[].aggregate.
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// `listener` is the section around it, with `so_far` read of it: some rules are between the two.
[[nodiscard]] AggregateConfig read_aggregate(const Reader& aggregate, const Reader& listener,
                                             const ListenerConfig& so_far);

}  // namespace fiberd::config
