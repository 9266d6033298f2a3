#pragma once
// `fiberd healthcheck`: for HEALTHCHECK of containers, and whoever else wants a yes or no.
#include <string>

#include "daemon/commands/find_admin.hpp"

namespace fiberd::daemon::commands {

/// Asks /readyz, where the admin listener is, or the metrics' where there is none. One line; the exit code is 0 when
/// the daemon serves, else 1 (containers' engines know no other), whatever the reason. A file that is wrong is not what
/// is asked about: the daemon goes on with the one before, so it is asked where that file says, or by default.
[[nodiscard]] int healthcheck(const Program& program, const AdminWords& words);

}  // namespace fiberd::daemon::commands
