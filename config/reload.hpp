#pragma once
// What cannot change while the daemon runs.
#include <vector>

#include "config/config.hpp"

namespace fiberd::config {

/// A diagnostic, in its place in `after`, for each key whose value differs and cannot be taken up without a restart:
/// those whose row in the schema says so. All else is for the daemon to exchange, listeners of other names, addresses
/// and kinds among them.
[[nodiscard]] std::vector<Diagnostic> not_reloadable(const Config& before, const Config& after);

}  // namespace fiberd::config
