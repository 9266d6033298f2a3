#pragma once
// What cannot change while the daemon runs.
#include <string>
#include <vector>

#include "config/config.hpp"

namespace fiberd::daemon {

/// One for each key whose change a reload refuses, with its name and why. Empty: `after` may follow `before`.
[[nodiscard]] std::vector<config::Diagnostic> not_reloadable(const config::Config& before, const config::Config& after);

/// What differs, in a line: "listener web changed; listener db added; log". Empty: nothing does.
[[nodiscard]] std::string what_changed(const config::Config& before, const config::Config& after);

}  // namespace fiberd::daemon
