#include "daemon/acme/on_demand.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <exception>
#include <utility>

#include "core/base/log.hpp"
#include "core/base/printable.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/blocking.hpp"

namespace fiberd::daemon::acme {

using namespace std::chrono_literals;

namespace {

constexpr std::int64_t kDenied = 600;  // seconds until the URL is asked again
constexpr std::int64_t kSoon = 60;     // of what may be otherwise in a minute
constexpr std::int64_t kBusy = 5;      // another process has the store's lock
constexpr std::chrono::nanoseconds kAskPatience = 10s;
constexpr std::uint64_t kMostAtOnce = 10;

}  // namespace

std::string_view token_of(OnDemandEnd end) noexcept {
  switch (end) {
    case OnDemandEnd::issued: return "issued";
    case OnDemandEnd::loaded: return "loaded";
    case OnDemandEnd::denied: return "denied";
    case OnDemandEnd::unanswered: return "unanswered";
    case OnDemandEnd::limited: return "limited";
    case OnDemandEnd::failed: return "failed";
    case OnDemandEnd::dropped:
    case OnDemandEnd::count_: break;
  }
  return "dropped";
}

OnDemand::Budget::Budget(std::uint64_t hourly)
    : per_hour(hourly),
      orders(static_cast<double>(hourly) / 3600.0, static_cast<std::int64_t>(std::min(hourly, kMostAtOnce))) {}

OnDemand::OnDemand(runtime::Runtime& runtime, std::shared_ptr<Challenges> challenges, OnDemandNames::Wake wake,
                   const ManagerMetrics& metrics, const OnDemandMetrics& ends)
    : runtime_(runtime),
      challenges_(std::move(challenges)),
      wake_(std::move(wake)),
      ends_(ends),
      renewer_(life_.context, *challenges_, metrics, [this](const Site&, const Standing& how) { last_ = how; }) {}

OnDemand::~OnDemand() = default;

void OnDemand::count(OnDemandEnd end) noexcept { metric::count(ends_.names[static_cast<std::size_t>(end)]); }

std::shared_ptr<const OnDemand::Sites> OnDemand::sites() const noexcept {
  const LockGuard guard(lock_);
  return sites_;
}

void OnDemand::use(std::vector<OnDemandSite> all) {
  auto made = std::make_shared<const Sites>(std::move(all));
  const bool any = !made->empty();
  for (const OnDemandSite& site : *made)
    site.names->use(site.most, ends_.names[static_cast<std::size_t>(OnDemandEnd::dropped)]);
  {
    const LockGuard guard(lock_);
    sites_.swap(made);
  }
  char now = 0;
  (void)wake_->try_send_if_open(now);
  if (!any || life_.context.done() || running_.exchange(true)) return;
  if (const Result<void> spawned = runtime_.spawn("acme on demand", [this] { run(); }); !spawned) {
    running_.store(false);
    log(LogLevel::error, "acme: no fiber: no certificate comes on demand: " + spawned.error().message());
  }
}

void OnDemand::stop() noexcept {
  cancel();
  while (running_.load(std::memory_order_acquire)) (void)context::sleep(context::background(), 5ms);
}

/// What is left of an hour outlives a reload, unless that says how much it is.
OnDemand::Budget& OnDemand::budget_of(const OnDemandSite& site) {
  std::unique_ptr<Budget>& budget = budgets_[site.site.listener];
  if (budget == nullptr || budget->per_hour != site.orders) budget = std::make_unique<Budget>(site.orders);
  return *budget;
}

OnDemandEnd OnDemand::ask(const OnDemandSite& site, const std::string& name) {
  if (client_ == nullptr) client_ = std::make_unique<http::Client>(http::ClientOptions{.body_size = 4096});
  // A host name needs no escapes.
  const std::string url = site.ask + (site.ask.find('?') == std::string::npos ? "?" : "&") + "domain=" + name;
  const context::Cancelable limit = context::with_timeout(life_.context, kAskPatience);
  std::string wrong;
  OnDemandEnd end = OnDemandEnd::unanswered;
  if (const Result<http::ClientResponse> answer = client_->get(limit.context, url)) {
    const unsigned status = answer->status();
    end = status >= 200 && status < 300 ? OnDemandEnd::issued : OnDemandEnd::denied;
    if (status >= 500) {
      end = OnDemandEnd::unanswered;
      wrong = "answered " + std::to_string(status);
    }
  } else {
    wrong = answer.error().message();
  }
  limit.cancel();
  if (end != OnDemandEnd::unanswered) {
    told_ = false;
  } else if (!std::exchange(told_, true) && !life_.context.done()) {
    log(LogLevel::error, "acme: listener " + site.site.listener + ": on_demand.ask " + printable(site.ask, 256) + ": " +
                             wrong + "; no certificate is ordered on demand until it answers");
  }
  return end;
}

/// `name` is a host name.
void OnDemand::work(const OnDemandSite& site, const std::string& name) {
  Site one = site.site;
  one.names = {name};
  const Store store(one.storage, one.directory);
  const auto look = [&] {
    return runtime::blocking([&] {
      return std::pair(look_at_kept(store, one.names, std::time(nullptr)), store.attempts(one.names).not_before);
    });
  };
  const auto [kept, rests] = look();
  const std::int64_t now = std::time(nullptr);
  const auto end_as = [&, &kept = kept](OnDemandEnd end, std::int64_t until) {
    count(end);
    if (kept.certificate != nullptr)
      site.names->show(name, kept.certificate, until);
    else
      site.names->refuse(name, until);
  };
  if (kept.certificate != nullptr) {
    const std::int64_t due = std::max(renewal_time(kept.not_before, kept.not_after, {}, 0.5), rests);
    if (due > now) return end_as(OnDemandEnd::loaded, due);
  }
  if (rests > now) return end_as(OnDemandEnd::limited, rests);
  // Nobody is asked, and no order is taken from the hour, for one that cannot be made now.
  const bool busy = runtime::blocking([&] {
    if (!store.open()) return false;  // which the renewer tells
    const Outcome<StoreLock> lock = store.try_lock();
    return lock && !*lock;
  });
  if (busy) return end_as(OnDemandEnd::failed, now + kBusy);
  Budget& budget = budget_of(site);
  if (!budget.asks.try_take()) return end_as(OnDemandEnd::limited, now + kSoon);
  if (const OnDemandEnd said = ask(site, name); said != OnDemandEnd::issued)
    return end_as(said, now + (said == OnDemandEnd::denied ? kDenied : kSoon));
  if (!budget.orders.try_take()) return end_as(OnDemandEnd::limited, now + kSoon);
  last_ = {};
  const Renewer::Turn turn = renewer_.turn(one, false);
  renewer_.forget_all_but({});
  if (turn.busy) return end_as(OnDemandEnd::failed, now + kBusy);
  const auto [had, ignored] = look();
  if (had.certificate == nullptr || had.serial == kept.serial)
    return end_as(OnDemandEnd::failed, std::max(last_.next, now + kSoon));
  count(OnDemandEnd::issued);
  site.names->show(name, had.certificate, std::max(last_.next, now + kSoon));
}

void OnDemand::run() noexcept {
  while (!life_.context.done()) {
    try {
      const std::shared_ptr<const Sites> all = sites();
      bool any = false;
      for (const OnDemandSite& site : *all) {
        if (life_.context.done()) break;
        const std::optional<std::string> name = site.names->next();
        if (!name) continue;
        any = true;
        try {
          work(site, *name);
        } catch (const std::exception&) {
          site.names->refuse(*name, std::time(nullptr) + kSoon);
          throw;
        }
      }
      if (!any) (void)wake_->receive(life_.context);
    } catch (const std::exception& e) {
      log(LogLevel::error, std::string("acme: on demand: ") + e.what());
      (void)context::sleep(life_.context, 1s);
    }
  }
  renewer_.close();
  if (client_ != nullptr) client_->close();
  budgets_.clear();
  running_.store(false, std::memory_order_release);
}

}  // namespace fiberd::daemon::acme
