#include "daemon/config_watcher.hpp"

#include <chrono>
#include <exception>
#include <new>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/observe/catalogue.hpp"

namespace fiberd::daemon {

using namespace std::chrono_literals;

struct ConfigWatcher::Turn {
  FileWatch files;
  runtime::CancelSource over;
  std::error_code told{};  // the failure that the log knows of
  std::size_t watches = 0;
};

ConfigWatcher::ConfigWatcher(runtime::Runtime& runtime, metric::Registry& registry, std::string file,
                             std::function<config::Outcome()> load, std::function<void()> request)
    : runtime_(runtime),
      file_(std::move(file)),
      load_(std::move(load)),
      request_(std::move(request)),
      failures_(registry.counter(observe::register_metric(registry, "fiberd_config_watch_failures_total"))) {
  gauges_.push_back(registry.callback(observe::register_metric(registry, "fiberd_config_watches"), {},
                                      [this] { return static_cast<double>(watches_.load()); }));
}

void ConfigWatcher::set(bool watch) noexcept {
  std::shared_ptr<Turn> fresh;
  std::shared_ptr<Turn> gone;
  try {
    if (watch) fresh = std::make_shared<Turn>();
    {
      const LockGuard guard(lock_);
      if (stopped_ || watch == (turn_ != nullptr)) return;
      gone = std::exchange(turn_, fresh);
    }
    if (gone != nullptr) gone->over.cancel();
    if (fresh == nullptr) return;
    const Result<void> begun =
        runtime_.spawn({.name = "config watch", .claim = fiber::StackClaim::report}, [this, fresh] { run(*fresh); });
    if (begun) return;
    log(LogLevel::error, "config.watch: nobody watches " + file_ + ": " + begun.error().message());
  } catch (const std::bad_alloc&) {
    log(LogLevel::error, "config.watch: nobody watches: out of memory");
  }
  failures_.add();
  const LockGuard guard(lock_);  // the next reload tries again
  if (turn_ == fresh) turn_ = nullptr;
}

void ConfigWatcher::stop() noexcept {
  std::shared_ptr<Turn> gone;
  {
    const LockGuard guard(lock_);
    stopped_ = true;
    gone = std::exchange(turn_, nullptr);
  }
  if (gone != nullptr) gone->over.cancel();
}

/// Once for each kind of failure, until it is over.
void ConfigWatcher::tell_failure(Turn& turn, std::error_code error) {
  failures_.add();
  if (turn.told == error) return;
  turn.told = error;
  std::string why = error.message();
  if (error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system)
    why = "no inotify instance is left (fs.inotify.max_user_instances), or no descriptor";
  else if (error == std::errc::no_space_on_device)
    why = "no inotify watch is left (fs.inotify.max_user_watches)";
  log(LogLevel::warning,
      "config.watch: not all that " + file_ + " stands for can be watched: " + why + "; it is looked at once a minute");
}

/// What is there now is watched, and what it says loaded, until both are of one moment.
bool ConfigWatcher::look(Turn& turn) {
  static constexpr int kMostRounds = 4;  // what is swapped meanwhile is an event of the next look
  bool complete = false;
  std::error_code error;
  for (int round = 0; round < kMostRounds; ++round) {
    const config::Outcome outcome = load_();
    WatchTargets targets;
    targets.add({file_, {}});
    for (const std::string& file : outcome.config.files) targets.add({file, {}});
    for (const auto& [directory, pattern] : outcome.config.patterns) targets.add({directory, pattern});
    const FileWatch::Armed armed = turn.files.arm(targets);
    watches_.store(armed.watches);
    error = armed.error;
    complete = !error;
    if (armed.fresh && round + 1 < kMostRounds) continue;
    if (loaded_.exchange(outcome.config.digest) != outcome.config.digest) {
      log(LogLevel::info, "config.watch: " + file_ + " has changed: the configuration is loaded anew");
      request_();
    }
    break;
  }
  if (error) {
    tell_failure(turn, error);
  } else if (std::exchange(turn.told, {})) {
    log(LogLevel::info, "config.watch: all that " + file_ + " stands for is watched again");
  }
  return complete;
}

void ConfigWatcher::run(Turn& turn) {
  turn.files.follow(
      turn.over, [&] { return look(turn); },
      [&](const std::exception& e) {
        tell_failure(turn, std::make_error_code(std::errc::resource_unavailable_try_again));
        log(LogLevel::error, std::string("config.watch: ") + e.what());
      });
  watches_.store(0);
}

}  // namespace fiberd::daemon
