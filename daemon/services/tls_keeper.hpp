#pragma once
// TlsKeeper: the TLS of one listener of one configuration: what its certificates, client authorities and ticket keys
// are read from, and the context that is made of them. Whoever watches the files has it look again: what has changed is
// taken over by connections that begin then, what is wrong leaves all as it was.
//
// `check`, a start, a reload and a look at changed files all read by read_tls_parts() (tls_parts.hpp), so they say the
// same.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "core/base/lock.hpp"
#include "core/metric/registry.hpp"
#include "core/tls/current_context.hpp"
#include "daemon/tls_parts.hpp"

namespace fiberd::daemon {

class TlsKeeper {
 public:
  /// `parts` are whole: there is a context. Throws as Registry does.
  TlsKeeper(const config::ListenerConfig& listener, std::shared_ptr<const TlsParts> parts, metric::Registry& registry);
  TlsKeeper(const TlsKeeper&) = delete;
  TlsKeeper& operator=(const TlsKeeper&) = delete;

  [[nodiscard]] const std::shared_ptr<tls::CurrentContext>& current() const noexcept { return current_; }
  /// As they are at present.
  [[nodiscard]] std::shared_ptr<const TlsParts> parts() const noexcept {
    const LockGuard guard(lock_);
    return parts_;
  }
  [[nodiscard]] const std::string& listener() const noexcept { return listener_; }
  /// Files that it is made of.
  [[nodiscard]] std::vector<std::string> files() const;
  /// Looks whether one of the files is another, and takes over what has changed if it is right. What has come of it is
  /// logged and counted; the same mistake once. False: something is wrong, which may pass without a change of a file
  /// (no descriptor was left): look again in a while. By one at a time; blocks the thread. Throws std::bad_alloc.
  bool look();
  /// One certificate of it, for who shows them.
  struct Shown {
    std::string file;
    std::string names;  ///< the first three, and how many more
    std::int64_t not_after = 0;
  };
  /// Those that end first, at most `most`.
  [[nodiscard]] std::vector<Shown> shown(std::size_t most) const;

 private:
  void note_ends();

  const std::string listener_;
  const config::TlsConfig config_;
  const std::vector<std::string> alpn_;
  const std::shared_ptr<tls::CurrentContext> current_;
  mutable Lock lock_;
  std::shared_ptr<const TlsParts> parts_ FIBERD_GUARDED_BY(lock_);
  std::string said_;  // what is wrong, as the log has it
  metric::Registry& registry_;
  metric::Counter& swapped_;
  metric::Counter& refused_;
  std::unique_ptr<metric::Leases> ends_;
};

}  // namespace fiberd::daemon
