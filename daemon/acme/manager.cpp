#include "daemon/acme/manager.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <exception>
#include <iterator>
#include <utility>

#include "core/base/log.hpp"
#include "core/context/waits.hpp"

namespace fiberd::daemon::acme {

using namespace std::chrono_literals;

Manager::Manager(runtime::Runtime& runtime, std::shared_ptr<Challenges> challenges, const ManagerMetrics& metrics)
    : runtime_(runtime),
      challenges_(std::move(challenges)),
      metrics_(metrics),
      renewer_(life_.context, *challenges_, metrics,
               [this](const Site& site, const Standing& how) { show(site, how); }) {}

Manager::~Manager() = default;

std::shared_ptr<const Manager::Sites> Manager::sites() const noexcept {
  const LockGuard guard(lock_);
  return sites_;
}

/// 0: nobody has asked for it.
std::uint64_t Manager::wanted(const std::string& file) const noexcept {
  const LockGuard guard(lock_);
  const auto found = wanted_.find(file);
  return found != wanted_.end() ? found->second : 0;
}

/// What was asked for meanwhile is still to be done.
void Manager::had(const std::string& file, std::uint64_t which) noexcept {
  const LockGuard guard(lock_);
  const auto found = wanted_.find(file);
  if (found != wanted_.end() && found->second == which) wanted_.erase(found);
}

void Manager::use(std::vector<Site> all) {
  auto made = std::make_shared<const Sites>(std::move(all));
  std::map<std::string, Shown> gone;
  std::set<std::string> files;
  for (const Site& site : *made) files.insert(file_of(site));
  const bool any = !made->empty();
  {
    const LockGuard guard(lock_);
    std::erase_if(wanted_, [&](const auto& one) { return !files.contains(one.first); });
    sites_.swap(made);
    files_.swap(files);
    shown_.swap(gone);
    if (metrics_.failing != nullptr) metrics_.failing->set(0);  // until they have been looked at
  }
  char now = 0;
  (void)wake_.try_send_if_open(now);
  if (!any || life_.context.done() || running_.exchange(true)) return;
  if (const Result<void> spawned = runtime_.spawn("acme", [this] { run(); }); !spawned) {
    running_.store(false);
    log(LogLevel::error, "acme: no fiber: certificates are not renewed: " + spawned.error().message());
  }
}

std::size_t Manager::renew() {
  std::size_t count = 0;
  {
    const LockGuard guard(lock_);
    count = files_.size();
    ++renewals_;
    for (const std::string& file : files_) wanted_[file] = renewals_;
  }
  char now = 0;
  if (count != 0) (void)wake_.try_send_if_open(now);
  return count;
}

void Manager::stop() noexcept {
  cancel();
  while (running_.load(std::memory_order_acquire)) (void)context::sleep(context::background(), 5ms);
}

std::vector<Manager::Shown> Manager::shown() const {
  std::vector<Shown> all;
  const LockGuard guard(lock_);
  for (const auto& [file, one] : shown_) all.push_back(one);
  return all;
}

/// Of an order that outlives its configuration nobody is told: it is no part of how that of now stands.
void Manager::show(const Site& site, const Standing& how) {
  Shown fresh{site.listener, names_of(site), how.file, how.not_after, how.next, how.attempts};
  std::string file = how.file;
  std::int64_t failing = 0;
  const LockGuard guard(lock_);
  if (!files_.contains(file)) return;
  shown_.insert_or_assign(std::move(file), std::move(fresh));
  for (const auto& [path, one] : shown_) failing += one.attempts.failed() ? 1 : 0;
  if (metrics_.failing != nullptr) metrics_.failing->set(failing);
}

void Manager::run() noexcept {
  std::shared_ptr<const Sites> before;
  while (!life_.context.done()) {
    std::int64_t next = std::time(nullptr) + 3600;
    try {
      const std::shared_ptr<const Sites> all = sites();
      if (all != before) renewer_.forget_all_but(*all);
      before = all;
      for (const Site& site : *all) {
        if (life_.context.done() || sites() != all) break;
        const std::string file = file_of(site);
        const std::uint64_t which = wanted(file);
        const Renewer::Turn turn = renewer_.turn(site, which != 0);
        if (turn.done) had(file, which);
        next = std::min(next, turn.again);
      }
      if (sites() != all) continue;
      const std::int64_t pause = std::max<std::int64_t>(next - std::time(nullptr), 1);
      const context::Cancelable limit = context::with_timeout(life_.context, std::chrono::seconds(pause));
      (void)wake_.receive(limit.context);
      limit.cancel();
    } catch (const std::exception& e) {
      log(LogLevel::error, std::string("acme: ") + e.what() + ": it is tried again in a minute");
      (void)context::sleep(life_.context, 60s);
    }
  }
  renewer_.close();
  running_.store(false, std::memory_order_release);
}

}  // namespace fiberd::daemon::acme
