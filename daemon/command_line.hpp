#pragma once
// The command line: fiberd [run] [-c FILE] [--set key=value]…, check FILE, reload [-c FILE | --address ADMIN],
// config default|schema, version, help; run, check and reload take the file with -c and without.
#include <string>

#include "daemon/handlers.hpp"

namespace fiberd::daemon {

/// Does what `argv` says and returns the process's exit code. `default_config` is what runs without a file; empty: the
/// built-in one. As run_daemon, call it once, before the process has other threads.
[[nodiscard]] int run_command_line(int argc, char** argv, const Handlers& handlers, const std::string& default_config);

}  // namespace fiberd::daemon
