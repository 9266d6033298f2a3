#pragma once
// The daemon's life: build → validate → start → serve → drain. How: lifecycle.cpp.
#include "config/config.hpp"
#include "daemon/handlers.hpp"

namespace fiberd::daemon {

/// What a process of ours says at its end; part of the contract with init systems and scripts.
enum class ExitCode : int { clean = 0, runtime_failure = 1, bad_usage = 2, cannot_bind = 3 };

/// Runs until SIGTERM or SIGINT and drains. Blocks. Call once, before the process has other threads (the signals that
/// it handles are blocked in the caller, and stay so). A handler that `config` names and `handlers` has not: bad_usage.
[[nodiscard]] ExitCode run_daemon(const config::Config& config, const Handlers& handlers = {});

}  // namespace fiberd::daemon
