#include "daemon/reloader.hpp"

#include <chrono>
#include <exception>
#include <system_error>
#include <utility>

#include "core/base/log.hpp"

namespace fiberd::daemon {

ReloadAnswer Reloader::stopping() {
  return {ReloadAnswer::Verdict::stopping, "reload refused: the daemon is stopping\n"};
}

std::shared_ptr<Reloader::Attempt> Reloader::ask(std::error_code& error) {
  auto fresh = std::make_shared<Attempt>();
  std::shared_ptr<Attempt> mine;
  bool begin = false;
  {
    const LockGuard guard(lock_);
    if (closed_) return nullptr;
    if (next_ == nullptr) next_ = std::move(fresh);
    mine = next_;
    begin = !std::exchange(running_, true);
  }
  if (!begin) return mine;
  const Result<void> spawned =
      runtime_.spawn({.name = "reload", .claim = fiber::StackClaim::report}, [this] { run(); });
  if (spawned) return mine;
  error = spawned.error();
  {
    const LockGuard guard(lock_);
    running_ = false;
    next_ = nullptr;
  }
  mine->answer = {ReloadAnswer::Verdict::refused, "reload: no fiber can be started: " + error.message() + "\n"};
  mine->done.done();
  return mine;
}

void Reloader::run() noexcept {
  for (;;) {
    std::shared_ptr<Attempt> attempt;
    bool closed = false;
    {
      const LockGuard guard(lock_);
      attempt = std::exchange(next_, nullptr);
      closed = closed_;
      if (attempt == nullptr) {
        running_ = false;
        return;
      }
    }
    try {
      attempt->answer = closed ? stopping() : reload_();
    } catch (const std::exception& e) {
      log(LogLevel::error, std::string("reload: ") + e.what());
      attempt->answer = {ReloadAnswer::Verdict::refused, std::string("reload: ") + e.what() + "\n"};
    }
    attempt->done.done();
  }
}

void Reloader::request() noexcept {
  try {
    std::error_code error;
    if (ask(error) == nullptr) log(LogLevel::warning, "reload refused: the daemon is stopping");
    if (error) log(LogLevel::error, "reload: no fiber can be started: " + error.message());
  } catch (const std::bad_alloc&) {
    log(LogLevel::error, "reload: out of memory");
  }
}

ReloadAnswer Reloader::request_and_wait() {
  std::error_code error;
  const std::shared_ptr<Attempt> attempt = ask(error);
  if (attempt == nullptr) return stopping();
  attempt->done.wait();
  return attempt->answer;
}

void Reloader::close() noexcept {
  for (;;) {
    {
      const LockGuard guard(lock_);
      closed_ = true;
      if (!running_) return;
    }
    (void)runtime::sleep_for(std::chrono::milliseconds(1));
  }
}

}  // namespace fiberd::daemon
