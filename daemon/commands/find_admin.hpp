#pragma once
// Where a daemon that runs can be asked: what reload, status, top and healthcheck have to know first.
#include <optional>
#include <string>
#include <string_view>

#include "daemon/admin_client.hpp"
#include "daemon/commands/program.hpp"

namespace fiberd::daemon::commands {

/// What a command line says of it.
struct AdminWords {
  std::string_view command;  ///< in front of what is said on standard error
  std::string file{};        ///< -c FILE; empty: none
  std::string address{};     ///< --address; empty: what the file says, or the default
  std::string token_file{};  ///< --token-file; empty: what the file says
};

struct AdminPlace {
  std::string address;
  AddressSource source = AddressSource::named;
  std::string token_file{};
};

/// Of `words`, or of the admin listener that the configuration names. A file that is wrong elsewhere will do as long as
/// it says where that is. nullopt: nobody can be asked, and standard error says why.
[[nodiscard]] std::optional<AdminPlace> find_admin(const Program& program, const AdminWords& words);

}  // namespace fiberd::daemon::commands
