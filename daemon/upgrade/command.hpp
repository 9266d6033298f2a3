#pragma once
// `fiberd upgrade`: asks a daemon that runs to be followed by a new process, and says what it answers.
#include <chrono>
#include <functional>
#include <string>

#include "daemon/admin_client.hpp"

namespace CLI {
class App;
}

namespace fiberd::daemon::upgrade {

/// What the command line says.
struct CommandOptions {
  std::string address;
  std::string token_file;
  std::string binary;
  std::string signature;
  std::string rollback_after;
};
/// The command with its options but for the configuration's file. `options` must outlive `app`.
CLI::App* add_command(CLI::App& app, CommandOptions& options);

/// Where the admin listener is: asked when --address does not say it.
struct AdminPlace {
  std::string address;
  std::string token_file;
  AddressSource source = AddressSource::named;
};

/// POST /upgrade to an admin listener, for as long as the upgrade takes. Prints the answer: to standard output when the
/// new process serves, else to standard error. Returns the exit code: 0; 1 when the new process was not to be had or
/// not ready, was rolled back, when nobody answers or the daemon stops; 2 when the upgrade was refused (a file that may
/// not be run, a signature that is missing or wrong, another upgrade, a wrong token) or an option is none.
[[nodiscard]] int run_command(const CommandOptions& options, const AdminPlace& place);

}  // namespace fiberd::daemon::upgrade
