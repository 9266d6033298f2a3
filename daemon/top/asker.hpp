#pragma once
// What `fiberd top` and `fiberd status` ask a daemon that runs.
#include <optional>
#include <string>
#include <vector>

#include "daemon/admin_client.hpp"
#include "daemon/exit_code.hpp"
#include "daemon/top/snapshot.hpp"

namespace fiberd::daemon::top {

/// Who is asked.
struct Asked {
  std::string address;  ///< as AdminRequest's
  AddressSource source = AddressSource::named;
  std::string token_file{};  ///< as AdminRequest's
};

/// A look, or why there is none.
struct Look {
  std::optional<Snapshot> snapshot;
  std::string document;
  std::string why;
  ExitCode code = ExitCode::runtime_failure;  ///< of a command that has no look; bad_usage: address or token are none
};

class Asker {
 public:
  explicit Asker(Asked asked) : asked_(std::move(asked)) {}

  /// Blocks the thread, some seconds at most for each step of the way.
  [[nodiscard]] Look look() const;
  /// The stacks of the fibers of a spawn site, in lines; or why not.
  [[nodiscard]] std::vector<std::string> stacks(const std::string& site) const;

 private:
  [[nodiscard]] std::optional<AdminAnswer> ask(std::string target, bool cut, Look& look) const;
  const Asked asked_;
};

}  // namespace fiberd::daemon::top
