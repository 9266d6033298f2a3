#pragma once
// Whether a configuration's connections find file descriptors.
#include "config/config.hpp"
#include "daemon/failure.hpp"

namespace fiberd::daemon {

/// Asked when everything is bound. False: not one client could be served, and `why` says so. What is merely less than
/// the configuration lets in is a warning in the log.
[[nodiscard]] bool enough_descriptors(const config::Config& config, Failure& why);
/// The warning alone, if `after` lets in more than `before`, which is served.
void compare_descriptors(const config::Config& before, const config::Config& after);

}  // namespace fiberd::daemon
