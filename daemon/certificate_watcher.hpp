#pragma once
// CertificateWatcher: a fiber that has the keepers of a configuration look again when a file that they read may be
// another. It needs no key: a certificate that nobody takes over ends some day.
//
// What comes in a burst is one change, as with the configuration's files (config_watcher.hpp): a certificate and its
// key are two files, and between the two they do not go together. Whoever looks too early says so, and looks again when
// the second one comes. Where inotify has no room left the files are looked at once a minute.
#include <memory>
#include <system_error>
#include <vector>

#include "core/base/lock.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"
#include "daemon/file_watch.hpp"
#include "daemon/services/tls_keeper.hpp"

namespace fiberd::daemon {

class CertificateWatcher {
 public:
  /// `runtime` must outlive its fiber.
  explicit CertificateWatcher(runtime::Runtime& runtime) : runtime_(runtime) {}

  /// From now on those of this configuration, and no others. Any thread; not before the daemon serves.
  void use(std::vector<std::shared_ptr<TlsKeeper>> keepers) noexcept;
  /// For good: the daemon stops.
  void stop() noexcept;

 private:
  struct Turn;  // from one use() to the next
  static void run(Turn& turn);
  [[nodiscard]] static bool look(Turn& turn);
  static void tell(Turn& turn, std::error_code error);

  runtime::Runtime& runtime_;
  Lock lock_;
  bool stopped_ FIBERD_GUARDED_BY(lock_) = false;
  std::shared_ptr<Turn> turn_ FIBERD_GUARDED_BY(lock_);  // null: nobody is watched
};

}  // namespace fiberd::daemon
