#pragma once
// Questions to this machine about what a configuration names, asked as the user who runs the process, without a trace:
// nothing is created, truncated or bound to a port that somebody could meet. An answer holds for the moment in which it
// is given, and says nothing about other processes (a port in use).
#include <cstdint>
#include <optional>
#include <string>
#include <system_error>

#include "core/net/endpoint.hpp"

namespace fiberd::daemon {

/// Owner and group of a Unix socket's file.
struct FileOwner {
  std::optional<std::uint32_t> user;
  std::optional<std::uint32_t> group;
};
/// "user", "user:group", "user:" (with the user's own group), ":group"; empty: neither. False: `error` says which is
/// not known here.
[[nodiscard]] bool find_owner(const std::string& text, FileOwner& owner, std::string& error);

/// Why something cannot be done; without an error it can. `what` is the part that is wrong, for people: of a file that
/// could not be made its directory.
struct Obstacle {
  std::error_code error;
  std::string what{};
  [[nodiscard]] explicit operator bool() const noexcept { return static_cast<bool>(error); }
  /// "No such file or directory (/run/fiberd); make the directory"
  [[nodiscard]] std::string to_string() const;
};

/// Why a log cannot be appended to `path`, which need not be there yet.
[[nodiscard]] Obstacle why_not_appendable(const std::string& path);

/// Why a socket cannot be bound to `endpoint`, but for another that has it.
[[nodiscard]] Obstacle why_not_bindable(const net::Endpoint& endpoint, bool tcp, bool udp, const FileOwner& owner);

/// The same directory entry has the same name here, however a path is spelled; empty where its directory is not there.
[[nodiscard]] std::string identity_of(const std::string& path);

}  // namespace fiberd::daemon
