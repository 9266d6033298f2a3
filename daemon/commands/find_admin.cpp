#include "daemon/commands/find_admin.hpp"

#include "core/net/endpoint.hpp"

namespace fiberd::daemon::commands {

std::optional<AdminPlace> find_admin(const Program& program, const AdminWords& words) {
  if (!words.address.empty()) return AdminPlace{words.address, AddressSource::named, words.token_file};
  const std::string command(words.command);
  const config::Outcome outcome = load(program, words.file, {});
  const std::string& admin = outcome.config.admin.address;
  // What else is wrong with it the daemon says: but where it is must be known.
  if (!outcome.ok() && (admin == config::AdminConfig{}.address || !net::Endpoint::parse(admin))) {
    print(outcome.diagnostics);
    complain(command + ": where the admin listener is cannot be read from that file; nobody was asked: --address");
    return std::nullopt;
  }
  if (admin.empty()) {
    complain(command + ": the configuration has no admin listener: say --address");
    return std::nullopt;
  }
  return AdminPlace{admin, words.file.empty() ? AddressSource::by_default : AddressSource::in_file,
                    words.token_file.empty() ? outcome.config.admin.token_file : words.token_file};
}

}  // namespace fiberd::daemon::commands
