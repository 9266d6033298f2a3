#pragma once
// run_daemon: the whole life of the process that serves. How: process.cpp.
#include <functional>
#include <string>

#include "config/config.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/handlers.hpp"

namespace fiberd::daemon {

struct Inheritance;

/// Loads the configuration anew, from where it came with all that the command line said; on a thread that may wait.
using LoadFunction = std::function<config::Outcome()>;

/// Runs until SIGTERM or SIGINT and drains. Blocks. Call once, before the process has other threads (the signals that
/// it handles are blocked in the caller, and stay so). A handler that `config` names and `handlers` has not: bad_usage.
/// `reload` is called for each reload; empty: reloads are refused. `file`: what it reads, by its absolute path, for
/// those who ask for a reload of one file by name; empty: nobody can. `inheritance`: what whoever started this
/// process has given it, its sockets settled for `config`; null: nothing.
[[nodiscard]] ExitCode run_daemon(const config::Config& config, const Handlers& handlers, LoadFunction reload = {},
                                  std::string file = {}, Inheritance* inheritance = nullptr);

}  // namespace fiberd::daemon
