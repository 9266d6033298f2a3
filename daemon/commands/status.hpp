#pragma once
// `fiberd status`: one screen of what a daemon that runs does.
#include <chrono>
#include <string>

#include "daemon/commands/find_admin.hpp"
#include "daemon/top/snapshot.hpp"

namespace fiberd::daemon::commands {

struct StatusWords {
  AdminWords admin{};
  std::chrono::nanoseconds interval = std::chrono::seconds(1);  ///< that rates are measured for
  bool json = false;
};

/// Returns the exit code: 0; 1 when the daemon cannot be asked, or the output not be written; 2 when the address is
/// none, or the daemon wants another token. Says on standard error why.
[[nodiscard]] int status(const Program& program, const StatusWords& words);

class Paint;
/// The screen, lines of 80 columns at most where names let it.
[[nodiscard]] std::string render_status(const top::Snapshot& now, const top::Rates& rates, const top::Snapshot& before,
                                        const Paint& paint);
/// The same as one JSON object in a line (docs/commands.md).
[[nodiscard]] std::string render_status_json(const top::Snapshot& now, const top::Rates& rates,
                                             const top::Snapshot& before);

}  // namespace fiberd::daemon::commands
