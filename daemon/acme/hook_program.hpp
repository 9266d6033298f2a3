#pragma once
// A program of the operator's that does what this one cannot, as to write a record of DNS.
#include <string>
#include <vector>

#include "core/context/context.hpp"
#include "daemon/acme/trouble.hpp"

namespace fiberd::daemon::acme {

/// Runs `command` (a path, then its arguments; no shell) without input, its output thrown away but for the first line
/// of what it says on its standard error, which is in the error's text. It has two minutes, and is killed when they or
/// the context are over. On a fiber. Success: it ended with 0.
[[nodiscard]] Outcome<void> run_hook(const context::Context& ctx, const std::vector<std::string>& command);

}  // namespace fiberd::daemon::acme
