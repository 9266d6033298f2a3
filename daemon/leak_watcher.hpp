#pragma once
// LeakWatcher: a fiber that looks for leaks again and again while the daemon serves.
#include <string>
#include <vector>

#include "config/config.hpp"
#include "core/metric/registry.hpp"
#include "core/observe/leak_report.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::daemon {

class LeakWatcher {
 public:
  /// Registers the gauges. What it is given must outlive the fiber.
  LeakWatcher(runtime::Runtime& runtime, metric::Registry& registry);

  /// The configuration's; from the next look on. Any thread.
  void set(const config::LeaksConfig& config);
  /// Starts the fiber, which ends with `until`. Without a fiber it is logged that nobody looks. Once.
  void start(runtime::Cancellation& until);
  /// What the pages ask.
  [[nodiscard]] observe::LeakWatch& watch() noexcept { return watch_; }

 private:
  void run(runtime::Cancellation& until);

  runtime::Runtime& runtime_;
  observe::LeakWatch watch_;
  std::vector<metric::CallbackHandle> gauges_;
};

}  // namespace fiberd::daemon
