#pragma once
// The command line: fiberd [run] [-c FILE] [--set key=value]…, check FILE, config default|schema, version,
// help; run and check take the file with -c and without.
#include <string>

#include "daemon/handlers.hpp"
#include "daemon/lifecycle.hpp"

namespace fiberd::daemon {

/// Does what `argv` says and returns the process's exit code. `default_config` is what runs without a file; empty: the
/// built-in one. As run_daemon, call it once, before the process has other threads.
[[nodiscard]] int run_command_line(int argc, char** argv, const Handlers& handlers, const std::string& default_config);

}  // namespace fiberd::daemon
