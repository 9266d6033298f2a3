#pragma once
// SharedChallenges: what an order shows while it is under way, for other processes of the same store: DIRECTORY/
// challenges/. An authority that looks is let in by whichever of them the kernel, or a machine in front, has chosen:
// one with SO_REUSEPORT, the next one of an upgrade, another machine that shares the directory. So each looks there for
// what it does not know itself.
//
// A file is named by a hash, for names and tokens are the authority's or a client's text, and says in its first line
// what it is of. What a process that died has left is taken away by the next that has the store's lock, since only he
// who has it shows anything. Calls block the thread.
#include <optional>
#include <string>
#include <string_view>

#include "daemon/acme/trouble.hpp"

namespace fiberd::daemon::acme {

class SharedChallenges {
 public:
  static constexpr std::string_view kHttp = "http";  ///< by token: the key authorization
  static constexpr std::string_view kTls = "tls";    ///< by name: certificate and key, as PEM

  explicit SharedChallenges(const std::string& storage) : directory_(storage + "/challenges") {}
  /// The store must be open.
  [[nodiscard]] Outcome<void> put(std::string_view kind, std::string_view of, std::string_view text) const;
  void take(std::string_view kind, std::string_view of) const noexcept;
  /// None: also when it cannot be read. Costs one system call where no order is under way.
  [[nodiscard]] std::optional<std::string> find(std::string_view kind, std::string_view of) const;
  /// All of it. Under the store's lock.
  void clear() const noexcept;

 private:
  [[nodiscard]] std::string file_of(std::string_view kind, std::string_view of) const;
  const std::string directory_;
};

}  // namespace fiberd::daemon::acme
