#pragma once
// fiberd acme list: what is there of a configuration's automatic certificates, from their directory; it needs no daemon
// that runs. fiberd acme renew: has the daemon that runs ask for all of them now.
#include <string>
#include <vector>

#include "daemon/commands/find_admin.hpp"
#include "daemon/commands/program.hpp"

namespace fiberd::daemon::commands {

struct AcmeWords {
  AdminWords admin{.command = "acme renew"};
  std::vector<std::string> overrides{};
};

/// Exit codes: 1 when a certificate is missing, has ended, or could not be renewed the last time.
[[nodiscard]] int acme_list(const Program& program, const AcmeWords& words);
[[nodiscard]] int acme_renew(const Program& program, const AcmeWords& words);

}  // namespace fiberd::daemon::commands
