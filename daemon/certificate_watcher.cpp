#include "daemon/certificate_watcher.hpp"

#include <chrono>
#include <exception>
#include <new>
#include <string>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"

namespace fiberd::daemon {

using namespace std::chrono_literals;

struct CertificateWatcher::Turn {
  std::vector<std::shared_ptr<TlsKeeper>> keepers;
  FileWatch files;
  runtime::CancelSource over;
  std::error_code told{};  // the failure that the log knows of
};

void CertificateWatcher::use(std::vector<std::shared_ptr<TlsKeeper>> keepers) noexcept {
  std::shared_ptr<Turn> fresh;
  std::shared_ptr<Turn> gone;
  std::error_code error;
  try {
    if (!keepers.empty()) {
      fresh = std::make_shared<Turn>();
      fresh->keepers = std::move(keepers);
    }
    {
      const LockGuard guard(lock_);
      if (stopped_) return;
      gone = std::exchange(turn_, fresh);
    }
    if (gone != nullptr) gone->over.cancel();
    if (fresh == nullptr) return;
    error = error_of(
        runtime_.spawn({.name = "certificate watch", .claim = fiber::StackClaim::report}, [fresh] { run(*fresh); }));
  } catch (const std::bad_alloc&) {
    error = std::make_error_code(std::errc::not_enough_memory);
  }
  if (error)
    log(LogLevel::error, "nobody watches the files of certificates: " + error.message() + "; a reload tries again");
}

void CertificateWatcher::stop() noexcept {
  std::shared_ptr<Turn> gone;
  {
    const LockGuard guard(lock_);
    stopped_ = true;
    gone = std::exchange(turn_, nullptr);
  }
  if (gone != nullptr) gone->over.cancel();
}

/// Once for each kind of failure, until it is over.
void CertificateWatcher::tell(Turn& turn, std::error_code error) {
  if (turn.told == error) return;
  turn.told = error;
  std::string why = error.message();
  if (error == std::errc::too_many_files_open || error == std::errc::too_many_files_open_in_system)
    why = "no inotify instance is left (fs.inotify.max_user_instances), or no descriptor";
  else if (error == std::errc::no_space_on_device)
    why = "no inotify watch is left (fs.inotify.max_user_watches)";
  log(LogLevel::warning, "not all files of certificates can be watched: " + why + "; they are looked at once a minute");
}

/// What is there now is watched, and what it says taken over, until both are of one moment.
bool CertificateWatcher::look(Turn& turn) {
  static constexpr int kMostRounds = 4;  // what is swapped meanwhile is an event of the next look
  bool complete = false;
  std::error_code error;
  for (int round = 0; round < kMostRounds; ++round) {
    WatchTargets targets;
    for (const auto& keeper : turn.keepers)
      for (const std::string& file : keeper->files()) targets.add({file, {}});
    const FileWatch::Armed armed = turn.files.arm(targets);
    error = armed.error;
    complete = !error;
    if (armed.fresh && round + 1 < kMostRounds) continue;
    if (turn.over.canceled()) return complete;  // others have what is served
    for (const auto& keeper : turn.keepers)
      if (!keeper->look()) complete = false;
    break;
  }
  if (error)
    tell(turn, error);
  else
    turn.told = {};
  return complete;
}

void CertificateWatcher::run(Turn& turn) {
  turn.files.follow(
      turn.over, [&] { return look(turn); },
      [&](const std::exception& e) {
        tell(turn, std::make_error_code(std::errc::resource_unavailable_try_again));
        log(LogLevel::error, std::string("the files of certificates cannot be looked at: ") + e.what());
      });
}

}  // namespace fiberd::daemon
