#pragma once
// ConfigWatcher: config.watch. A fiber that asks for a reload when the files of the configuration have changed.
//
// Whether they have is decided by what is in them: they are loaded, as a reload would, and the digest of what was read
// is held against that of the last load, whoever made it. So what was written while nobody looked is found, a file that
// was only touched reloads nothing, and one that is refused is asked for once and not again and again.
//
// What comes in a burst is one change: it is looked at when nothing more has come for a moment, or at the latest a
// second after the first; the last word wins, for what comes during that look is an event of its own. Where inotify has
// no room left the files are looked at once a minute.
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/base/lock.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"
#include "daemon/file_watch.hpp"

namespace fiberd::daemon {

class ConfigWatcher {
 public:
  /// `load` loads the configuration, on the blocking pool; `request` asks for a reload and does not wait for it.
  /// `file`: whose configuration it is. What it is given must outlive its fiber.
  ConfigWatcher(runtime::Runtime& runtime, metric::Registry& registry, std::string file,
                std::function<config::Outcome()> load, std::function<void()> request);

  /// Begins or ends. Any thread; not before the daemon serves.
  void set(bool watch) noexcept;
  /// What has been loaded, by whomever. Any thread.
  void loaded(std::uint64_t digest) noexcept { loaded_.store(digest, std::memory_order_release); }
  /// For good: the daemon stops.
  void stop() noexcept;

 private:
  struct Turn;  // from set(true) to set(false)
  void run(Turn& turn);
  [[nodiscard]] bool look(Turn& turn);
  void tell_failure(Turn& turn, std::error_code error);

  runtime::Runtime& runtime_;
  const std::string file_;
  const std::function<config::Outcome()> load_;
  const std::function<void()> request_;
  metric::Counter& failures_;
  std::vector<metric::CallbackHandle> gauges_;
  std::atomic<std::size_t> watches_{0};
  std::atomic<std::uint64_t> loaded_{0};
  Lock lock_;
  bool stopped_ FIBERD_GUARDED_BY(lock_) = false;
  std::shared_ptr<Turn> turn_ FIBERD_GUARDED_BY(lock_);  // null: off
};

}  // namespace fiberd::daemon
