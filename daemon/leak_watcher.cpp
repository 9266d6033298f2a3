#include "daemon/leak_watcher.hpp"

#include <exception>

#include "core/base/log.hpp"
#include "core/observe/catalogue.hpp"

namespace fiberd::daemon {

LeakWatcher::LeakWatcher(runtime::Runtime& runtime, metric::Registry& registry) : runtime_(runtime) {
  metric::Family& leaks = observe::register_metric(registry, "fiberd_fiber_leaks");
  gauges_.push_back(registry.callback(leaks, {"certain"}, [this] { return static_cast<double>(watch_.certain()); }));
  gauges_.push_back(registry.callback(leaks, {"suspect"}, [this] { return static_cast<double>(watch_.suspect()); }));
  gauges_.push_back(registry.callback(observe::register_metric(registry, "fiberd_leak_look_seconds"), {}, [this] {
    const auto report = watch_.last();
    return report != nullptr ? std::chrono::duration<double>(report->took).count() : 0.0;
  }));
}

void LeakWatcher::set(const config::LeaksConfig& config) { watch_.set({config.threshold, config.ignore}); }

void LeakWatcher::start(runtime::Cancellation& until) {
  const Result<void> watching = runtime_.spawn("leaks", [this, &until] { run(until); });
  if (!watching) log(LogLevel::error, "nobody looks for leaks: " + watching.error().message());
}

void LeakWatcher::run(runtime::Cancellation& until) {
  while (!until.canceled()) {
    const std::chrono::nanoseconds threshold = watch_.options().threshold;
    // 0 switches it off; a reload may switch it on.
    const auto pause = threshold.count() != 0 ? watch_.pause() : std::chrono::seconds(1);
    // Not longer than a second at a time, for a reload may have made it shorter.
    const Deadline next = Deadline::in(pause);
    while (monotonic_now() < next.ns() && !until.canceled() && watch_.options().threshold == threshold)
      (void)runtime::sleep_for(std::min<std::chrono::nanoseconds>(pause, std::chrono::seconds(1)), &until);
    if (until.canceled() || threshold.count() == 0 || watch_.options().threshold != threshold) continue;
    try {
      (void)watch_.look();
    } catch (const std::exception& e) {
      log(LogLevel::error, std::string("leaks could not be looked for: ") + e.what());
    }
  }
}

}  // namespace fiberd::daemon
