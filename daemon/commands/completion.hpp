#pragma once
// What a shell completes: commands, options, their values and files, from the words of the command line.
#include <string>
#include <string_view>

#include "daemon/commands/words.hpp"

namespace fiberd::daemon::commands {

/// A script for `shell`, one of shells(): to be read by it, or put where it looks for one.
[[nodiscard]] std::string render_completion(const CommandWords& program, std::string_view shell);

}  // namespace fiberd::daemon::commands
