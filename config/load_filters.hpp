#pragma once
#include <vector>

#include "config/filters.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// The filters of a listener's section http, or of a route, in the order in which their keys were written.
[[nodiscard]] std::vector<FilterConfig> read_filters(const Reader& r);

}  // namespace fiberd::config
