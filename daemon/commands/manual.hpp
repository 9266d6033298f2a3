#pragma once
// The manual page of the command line, fiberd(1), from its words.
#include <string>

#include "daemon/commands/words.hpp"

namespace fiberd::daemon::commands {

/// As roff source with the macros of man(7).
[[nodiscard]] std::string render_manual(const CommandWords& program);

}  // namespace fiberd::daemon::commands
