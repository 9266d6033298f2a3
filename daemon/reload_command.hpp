#pragma once
// `fiberd reload`: asks a daemon that runs for it, and says what it answers.
#include <string>

namespace fiberd::daemon {

/// POST /reload to the admin listener at `address` ("127.0.0.1:9090", "unix:/path"; a wildcard means this machine's
/// own), over a plain blocking socket, for a minute at most. Prints the answer: to standard output when the new
/// configuration serves, else to standard error. Returns the exit code: 0; 1 when nobody answers or the daemon stops; 2
/// when the configuration was refused, or `address` is none.
[[nodiscard]] int reload_by_admin(const std::string& address);

}  // namespace fiberd::daemon
