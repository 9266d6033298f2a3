#pragma once
// The section `upgrade`: how a new process follows the one that serves.
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

[[nodiscard]] UpgradeConfig read_upgrade(const Reader& upgrade);

}  // namespace fiberd::config
