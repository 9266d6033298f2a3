#pragma once
// `fiberd check`: all that is wrong with a configuration, or what it comes to.
#include <string>
#include <vector>

#include "daemon/commands/program.hpp"

namespace fiberd::daemon::commands {

struct CheckWords {
  std::string file;  ///< kStandardInput: what comes there
  std::vector<std::string> overrides{};
  bool show = false;  ///< prints the configuration in effect, with its defaults and without secrets
};

/// Starts nothing, and leaves no trace. Returns the exit code: 0; 1 when the output cannot be written; 2 when something
/// is wrong; 3 when an address is not this machine's.
[[nodiscard]] int check(const Program& program, const CheckWords& words);

}  // namespace fiberd::daemon::commands
