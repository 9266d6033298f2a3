#pragma once
// What cannot change while the daemon runs.
#include <vector>

#include "config/config.hpp"

namespace fiberd::config {

/// A diagnostic, in its place in `after`, for each key of the process itself that differs and is taken up by a restart
/// only: those of `runtime` whose row in the schema says so. What a listener cannot change is for who exchanges
/// listeners to say.
[[nodiscard]] std::vector<Diagnostic> not_reloadable(const Config& before, const Config& after);

}  // namespace fiberd::config
