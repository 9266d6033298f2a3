#pragma once
// The section `log`.
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

[[nodiscard]] LogConfig read_log(const Reader& log);

}  // namespace fiberd::config
