#pragma once
// StopEnd: the last moment of a stop, and what has to be done by then.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>

#include "config/config.hpp"
#include "daemon/stop_watchdog.hpp"

namespace fiberd::runtime {
class Scheduler;
}

namespace fiberd::daemon {

/// The end of a stop, which outlives the daemon: logs are written to the last.
class StopEnd {
 public:
  explicit StopEnd(const config::Config& config) noexcept { use(config); }
  /// With another configuration's times. Any thread.
  void use(const config::Config& config) noexcept;

  /// How long a log is waited for in which nothing can be written.
  [[nodiscard]] std::chrono::milliseconds patience() const noexcept {
    return std::chrono::milliseconds(patience_.load(std::memory_order_relaxed));
  }
  /// Until when a log is written that is read slowly: so much before the watchdog that what is missing can be said.
  [[nodiscard]] std::int64_t log_deadline(std::chrono::milliseconds before_end) const noexcept;

  std::atomic<const runtime::Scheduler*> scheduler{nullptr};  // while there is one
  StopWatchdog watchdog{[this] { return what_is_left(); }};

 private:
  std::string what_is_left() const;
  std::atomic<std::int64_t> patience_{0};  // ms
};

// A write that hangs is waited for half a second longer (LineWriter::stop).
constexpr std::chrono::milliseconds kAccessLogsBeforeEnd{1250};
constexpr std::chrono::milliseconds kLogBeforeEnd{750};

}  // namespace fiberd::daemon
