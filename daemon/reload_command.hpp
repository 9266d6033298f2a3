#pragma once
// `fiberd reload`: asks a daemon that runs for it, and says what it answers.
#include <string>

#include "daemon/admin_client.hpp"

namespace fiberd::daemon {

struct ReloadRequest {
  std::string address;  ///< "127.0.0.1:9090", "unix:/path"; a wildcard means this machine's own
  std::string file;     ///< the configuration that is meant, by its absolute path; empty: whatever that daemon has
  AddressSource source = AddressSource::named;
  /// Of what the daemon wants to know from who asks (admin.token_file); empty: nothing is told.
  std::string token_file{};
};

/// POST /reload to an admin listener, for a minute at most. Prints the answer: to
/// standard output when the new configuration serves, else to standard error. Returns the exit code: 0; 1 when nobody
/// answers or the daemon stops; 2 when the configuration was refused, the daemon has another file or wants another
/// token, or the address or the token's file is none.
[[nodiscard]] int reload_by_admin(const ReloadRequest& request);

}  // namespace fiberd::daemon
