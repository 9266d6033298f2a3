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
  wish_.reset();
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

/// On the fiber that waited for it, which may be before ask() has gone on.
void LogLevels::ended(Wish& wish) noexcept {
  {
    const LockGuard guard(lock_);
    wish.over = true;
    if (wish_.get() != &wish) return;  // somebody else has asked since, or nobody has yet
    forget();
  }
  log(LogLevel::warning, "log levels are the configuration's again");
}

Result<void> LogLevels::ask(std::optional<LogModule> module, LogLevel level, std::chrono::nanoseconds duration) {
  // What can fail is done before anything is decided; what is decided, is so under one lock.
  std::shared_ptr<Wish> wish;
  std::optional<context::Cancelable> wait;
  if (duration.count() != 0) {
    wish = std::make_shared<Wish>();
    wait = context::with_cancel(until_);
    const Result<void> begun = runtime::spawn("log-level", [self = shared_from_this(), wish, wait = *wait, duration] {
      if (context::sleep(wait.context, duration)) self->ended(*wish);
      wait.cancel();
    });
    if (!begun) {
      wait->cancel();
      return begun;
    }
  }
  std::optional<context::CancelFunction> waiting;
  {
    const LockGuard guard(lock_);
    if (wish != nullptr && wish->over) return {};  // so short was it
    waiting.swap(waiting_);
    for (std::size_t i = 0; i < kLogModules.size(); ++i)
      if (!module || static_cast<std::size_t>(*module) == i) asked_[i] = level;
    ends_ = duration.count() != 0 ? monotonic_now() + duration.count() : 0;
    if (wait) waiting_ = wait->cancel;
    wish_ = std::move(wish);
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
