#include "daemon/descriptors.hpp"

#include <cstdint>
#include <string>
#include <system_error>
#include <variant>

#include "core/base/log.hpp"
#include "daemon/process_setup.hpp"

namespace fiberd::daemon {

/// Connections that it lets in at once.
static std::uint64_t connections_of(const config::Config& config) {
  std::uint64_t wanted = 0;
  for (const config::ListenerConfig& listener : config.listeners)
    wanted += std::visit(
        [](const auto& service) {
          if constexpr (requires { service.limits; })
            return service.limits.connections;
          else
            return service.connections;
        },
        listener.service);
  return wanted;
}

static void compare(const config::Config& config, const Descriptors& descriptors) {
  if (const std::string warning = compare_with_connections(descriptors, connections_of(config)); !warning.empty())
    log(LogLevel::warning, warning);
}

bool enough_descriptors(const config::Config& config, Failure& why) {
  static constexpr std::uint64_t kForSignals = 5;  // the service thread's, opened later
  static constexpr std::uint64_t kLeast = 4;
  Descriptors descriptors = count_descriptors();
  descriptors.open += kForSignals;
  if (descriptors.free() < kLeast) {
    why = {"no client could be served: " + std::to_string(descriptors.limit) +
               " files may be open, and with this configuration " + std::to_string(descriptors.open + kLeast) +
               " are the least (the daemon's own " + std::to_string(descriptors.open) + ", and " +
               std::to_string(kLeast) + " for clients)" +
               explain_shortage(std::make_error_code(std::errc::too_many_files_open)),
           ExitCode::runtime_failure};
    return false;
  }
  compare(config, descriptors);
  return true;
}

void compare_descriptors(const config::Config& before, const config::Config& after) {
  if (connections_of(after) > connections_of(before)) compare(after, count_descriptors());
}

}  // namespace fiberd::daemon
