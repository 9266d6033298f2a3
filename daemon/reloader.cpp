#include "daemon/reloader.hpp"

#include <chrono>
#include <exception>
#include <system_error>
#include <utility>

#include "core/base/log.hpp"

namespace fiberd::daemon {

ReloadAnswer Reloader::refuse_for_stop() noexcept {
  metric::count(stopping_);
  log(LogLevel::warning, "reload refused: the daemon is stopping");
  return {ReloadAnswer::Verdict::stopping, "reload refused: the daemon is stopping\n"};
}

std::shared_ptr<Reloader::Attempt> Reloader::ask() {
  auto fresh = std::make_shared<Attempt>();
  std::shared_ptr<Attempt> mine;
  {
    const LockGuard guard(lock_);
    if (closed_) return nullptr;
    if (next_ == nullptr) next_ = std::move(fresh);
    mine = next_;
  }
  begin();
  return mine;
}

void Reloader::open() noexcept {
  {
    const LockGuard guard(lock_);
    open_ = true;
  }
  begin();
}

/// Starts the fiber if there is something to do and none at it.
void Reloader::begin() noexcept {
  {
    const LockGuard guard(lock_);
    if (!open_ || running_ || next_ == nullptr) return;
    running_ = true;
  }
  std::error_code error;
  try {
    const Result<void> spawned =
        runtime_.spawn({.name = "reload", .claim = fiber::StackClaim::report}, [this] { run(); });
    if (spawned) return;
    error = spawned.error();
  } catch (const std::bad_alloc&) {
    error = std::make_error_code(std::errc::not_enough_memory);
  }
  std::shared_ptr<Attempt> given_up;
  {
    const LockGuard guard(lock_);
    running_ = false;
    given_up = std::exchange(next_, nullptr);
  }
  if (given_up == nullptr) return;
  given_up->answer = give_up("no fiber can be started: " + error.message());
  (void)given_up->done.done();
}

ReloadAnswer Reloader::give_up(const std::string& why) {
  log(LogLevel::error, "reload: " + why);
  if (failed_) failed_();
  return {ReloadAnswer::Verdict::refused, "reload: " + why + "\n"};
}

void Reloader::run() noexcept {
  for (;;) {
    std::shared_ptr<Attempt> attempt;
    {
      const LockGuard guard(lock_);
      attempt = std::exchange(next_, nullptr);
      if (attempt == nullptr) {
        running_ = false;
        return;
      }
    }
    try {
      attempt->answer = reload_();
    } catch (const std::exception& e) {
      attempt->answer = give_up(e.what());
    }
    (void)attempt->done.done();
  }
}

void Reloader::request() noexcept {
  try {
    if (ask() == nullptr) (void)refuse_for_stop();
  } catch (const std::bad_alloc&) {
    log(LogLevel::error, "reload: out of memory");
  }
}

Result<ReloadAnswer> Reloader::request_and_wait(const context::Context& ctx) {
  const std::shared_ptr<Attempt> attempt = ask();
  if (attempt == nullptr) return refuse_for_stop();
  if (const Result<void> waited = attempt->done.wait(ctx); !waited) return fail(waited.error());
  return attempt->answer;
}

void Reloader::close() noexcept {
  std::shared_ptr<Attempt> never_begun;
  {
    const LockGuard guard(lock_);
    closed_ = true;
    never_begun = std::exchange(next_, nullptr);
  }
  if (never_begun == nullptr) return;
  never_begun->answer = refuse_for_stop();
  (void)never_begun->done.done();
}

}  // namespace fiberd::daemon
