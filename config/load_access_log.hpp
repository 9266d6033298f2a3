#pragma once
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// A section access_log; what is not written is as in `before`.
[[nodiscard]] AccessLogConfig read_access_log(const Reader& r, const AccessLogConfig& before);

}  // namespace fiberd::config
