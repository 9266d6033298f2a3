#include "daemon/log_levels.hpp"

#include <algorithm>
#include <cstddef>
#include <string_view>
#include <utility>

#include "core/base/clock.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::daemon {

LogLevels::~LogLevels() { reset(); }

void LogLevels::apply() const noexcept {
  for (std::size_t i = 0; i < kLogModules.size(); ++i)
    set_log_level(static_cast<LogModule>(i), asked_[i].value_or(configured_[i]));
}

void LogLevels::forget() noexcept {
  asked_ = {};
  ends_ = 0;
  ++turn_;
  apply();
}

void LogLevels::configure(const LogOptions& options) noexcept {
  const auto levels = levels_of(options);
  {
    const LockGuard guard(lock_);
    configured_ = levels;
  }
  reset();
}

void LogLevels::reset() noexcept {
  std::optional<context::CancelFunction> waiting;
  {
    const LockGuard guard(lock_);
    waiting.swap(waiting_);
    forget();
  }
  if (waiting) (*waiting)();
}

/// On the fiber that waited for it.
void LogLevels::ended(std::uint64_t turn) noexcept {
  {
    const LockGuard guard(lock_);
    if (turn_ != turn) return;  // somebody else has asked since
    forget();
  }
  log(LogLevel::warning, "log levels are the configuration's again");
}

Result<void> LogLevels::ask(std::optional<LogModule> module, LogLevel level, std::chrono::nanoseconds duration) {
  std::uint64_t turn = 0;
  std::optional<context::CancelFunction> waiting;
  {
    const LockGuard guard(lock_);
    turn = ++turn_;
    waiting.swap(waiting_);
  }
  std::optional<context::Cancelable> wait;
  Result<void> begun;
  if (duration.count() != 0) {
    wait = context::with_cancel(until_);
    begun = runtime::spawn("log-level", [self = shared_from_this(), turn, wait = *wait, duration] {
      if (context::sleep(wait.context, duration)) self->ended(turn);
      wait.cancel();
    });
    if (!begun) wait->cancel();
  }
  {
    const LockGuard guard(lock_);
    if (!begun) {
      waiting.swap(waiting_);  // who ends what was asked for before goes on
      turn_ = turn - 1;
      return begun;
    }
    for (std::size_t i = 0; i < kLogModules.size(); ++i)
      if (!module || static_cast<std::size_t>(*module) == i) asked_[i] = level;
    ends_ = duration.count() != 0 ? monotonic_now() + duration.count() : 0;
    if (wait) waiting_ = wait->cancel;
    apply();
  }
  if (waiting) (*waiting)();
  return {};
}

std::string LogLevels::describe() const {
  std::array<std::optional<LogLevel>, kLogModules.size()> asked{};
  std::int64_t ends = 0;
  {
    const LockGuard guard(lock_);
    asked = asked_;
    ends = ends_;
  }
  std::string text;
  for (std::size_t i = 0; i < kLogModules.size(); ++i) {
    std::string line(kLogModules[i]);
    line.resize(8, ' ');
    line += kLogLevels[static_cast<std::size_t>(log_level(static_cast<LogModule>(i)))];
    if (asked[i] && ends == 0) line += "  asked for, until the next reload";
    if (asked[i] && ends != 0)
      line += "  asked for, for another " +
              std::to_string(std::max<std::int64_t>(0, ends - monotonic_now()) / 1'000'000'000) + " s";
    text += line + "\n";
  }
  return text;
}

}  // namespace fiberd::daemon
