#pragma once
// LogLevels: the least levels of the log's modules: those of the configuration, and for a while those that somebody has
// asked for. Who looks for something at night turns a module up and forgets it: so what was asked for ends by itself.
#include <array>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "core/base/lock.hpp"
#include "core/base/log.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "daemon/logging.hpp"

namespace fiberd::daemon {

/// Thread-safe; owned by shared pointers.
class LogLevels : public std::enable_shared_from_this<LogLevels> {
 public:
  static constexpr std::chrono::minutes kUsual{10};
  static constexpr std::chrono::hours kMost{24};

  /// Nothing waits on when `until` is done.
  explicit LogLevels(context::Context until) noexcept : until_(std::move(until)) {}
  ~LogLevels();
  LogLevels(const LogLevels&) = delete;
  LogLevels& operator=(const LogLevels&) = delete;

  /// Of a configuration; what was asked for before is over.
  void configure(const LogOptions& options) noexcept;
  /// Of `module`, or of all of them, for so long (0: until the next configure()). What was asked for other modules
  /// stays, and ends with this. On a fiber. Error: of spawning the one that ends it; then nothing has changed. Throws
  /// std::bad_alloc.
  [[nodiscard]] Result<void> ask(std::optional<LogModule> module, LogLevel level, std::chrono::nanoseconds duration);
  /// Ends what was asked for.
  void reset() noexcept;
  /// A line a module: its level, and until when, if it is not the configuration's.
  [[nodiscard]] std::string describe() const;

 private:
  void apply() const noexcept FIBERD_REQUIRES(lock_);
  void forget() noexcept FIBERD_REQUIRES(lock_);
  /// What somebody has asked for, for a while.
  struct Wish {
    bool over = false;  // its time is; under lock_
  };
  void ended(Wish& wish) noexcept;
  const context::Context until_;
  mutable Lock lock_;
  std::array<LogLevel, kLogModules.size()> configured_ FIBERD_GUARDED_BY(lock_){};
  std::array<std::optional<LogLevel>, kLogModules.size()> asked_ FIBERD_GUARDED_BY(lock_){};
  std::optional<context::CancelFunction> waiting_ FIBERD_GUARDED_BY(lock_);  // who will end it
  std::shared_ptr<Wish> wish_ FIBERD_GUARDED_BY(lock_);  // the last one; null: none that ends by itself
  std::int64_t ends_ FIBERD_GUARDED_BY(lock_) = 0;       // monotonic ns; 0: with the next configuration
};

}  // namespace fiberd::daemon
