// The watchdog is fed by all Processors or not at all: WATCHDOG=1 goes out when a fiber has run on each of them since
// the last one (roll_call.hpp). It is this thread that sends it, so that a crowd of fibers in front of one of ours is
// no reason to be taken for dead; a Processor that takes up no fiber any more is.
#include "daemon/manager_talk.hpp"

#include <time.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <ctime>
#include <exception>
#include <memory>
#include <new>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "daemon/helper_thread.hpp"

namespace fiberd::daemon {

namespace {

using std::chrono::microseconds;
using std::chrono::milliseconds;
using std::chrono::nanoseconds;

constexpr std::int64_t kOneSecond = 1'000'000'000;

/// How often the watchdog is fed: so that a look or two may come late, and that one that is set to days does not make
/// this thread look at a dead Processor once a day.
nanoseconds look_every(microseconds watchdog) noexcept {
  return std::clamp<nanoseconds>(watchdog / 4, milliseconds(5), std::chrono::seconds(10));
}

std::string number(double value) { return std::to_string(static_cast<std::uint64_t>(std::max(value, 0.0))); }

std::string time_of_day() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  std::array<char, 16> text{};
  if (::localtime_r(&now, &local) == nullptr) return "?";
  return {text.data(), std::strftime(text.data(), text.size(), "%H:%M:%S", &local)};
}

double sum_of(const metric::FamilySnapshot& family) {
  const auto& labels = family.spec.labels;
  const auto listener = static_cast<std::size_t>(std::find(labels.begin(), labels.end(), "listener") - labels.begin());
  double sum = 0;
  for (const metric::Sample& s : family.samples)
    if (listener >= s.labels.size() || (s.labels[listener] != "admin" && s.labels[listener] != "metrics"))
      sum += s.value;
  return sum;
}

}  // namespace

ManagerFigures figures_of(const metric::Registry& registry, std::uint64_t fibers) {
  ManagerFigures figures{.fibers = fibers};
  for (const metric::FamilySnapshot& family : registry.snapshot()) {
    if (family.spec.name == "fiberd_http_requests_total") figures.requests = sum_of(family);
    if (family.spec.name == "fiberd_listener_connections") figures.connections = sum_of(family);
  }
  return figures;
}

ManagerTalk::ManagerTalk(Notifier& notifier, runtime::Runtime& runtime, std::function<ManagerFigures()> figures)
    : notifier_(notifier), figures_(std::move(figures)), roll_(runtime) {
  sem_init(&changed_, 0, 0);
}

ManagerTalk::~ManagerTalk() {
  stop();
  sem_destroy(&changed_);
}

void ManagerTalk::start() {
  if (!notifier_.enabled() || started_) return;
  using Self = ManagerTalk* const;
  if (const std::error_code error =
          start_helper<Self, &ManagerTalk::run>(thread_, "fiberd-manager", std::make_shared<Self>(this))) {
    log(LogLevel::error, "the service manager is told no status" +
                             std::string(notifier_.watchdog().count() != 0 ? ", and its watchdog (WatchdogSec=) will "
                                                                             "take fiberd for dead"
                                                                           : "") +
                             ": the thread for it cannot be started: " + error.message());
    return;
  }
  started_ = true;
}

void ManagerTalk::stop() noexcept {
  if (!std::exchange(started_, false)) return;
  over_.store(true, std::memory_order_release);
  (void)sem_post(&changed_);
  (void)pthread_join(thread_, nullptr);
}

void ManagerTalk::ready() {
  Phase starting = Phase::starting;
  if (!phase_.compare_exchange_strong(starting, Phase::serving)) return;
  (void)notifier_.notify("READY=1\nSTATUS=serving");
  (void)sem_post(&changed_);
}

void ManagerTalk::reloading() {
  Phase serving = Phase::serving;
  if (!notifier_.enabled() || !phase_.compare_exchange_strong(serving, Phase::reloading)) return;
  (void)notifier_.notify("RELOADING=1\nMONOTONIC_USEC=" + std::to_string(monotonic_now() / 1'000) +
                         "\nSTATUS=loading the configuration anew");
}

void ManagerTalk::reloaded(bool done, std::string_view how) {
  if (!notifier_.enabled()) return;
  std::string note = (done ? "reloaded at " : "reload refused at ") + time_of_day() + ": " + std::string(how);
  const std::string text = "READY=1\nSTATUS=" + status_text("serving; " + note);
  {
    const LockGuard guard(note_lock_);
    note_.swap(note);
  }
  // Who stops meanwhile has said so, and is not ready.
  Phase reloading = Phase::reloading;
  if (phase_.compare_exchange_strong(reloading, Phase::serving)) (void)notifier_.notify(text);
}

void ManagerTalk::stopping(std::int64_t end) noexcept {
  end_.store(end, std::memory_order_release);
  const bool first = phase_.exchange(Phase::stopping) != Phase::stopping;
  if (!notifier_.enabled()) return;
  try {
    (void)notifier_.notify((first ? "STOPPING=1\n" : "") + extension(monotonic_now()) + "STATUS=stopping");
  } catch (const std::bad_alloc&) {
    (void)notifier_.notify("STOPPING=1");
  }
  (void)sem_post(&changed_);
}

// ---------------------------------------------------------------------------------------------- the thread

/// Asked for a little at a time, so that a daemon whose threads have all stopped is not waited for until its last
/// moment; and never beyond it, for then the process ends by itself (stop_watchdog.cpp).
std::string ManagerTalk::extension(std::int64_t now) const {
  static constexpr std::int64_t kAtOnce = 15 * kOneSecond;
  static constexpr std::int64_t kForLogs = 2 * kOneSecond;
  const std::int64_t end = end_.load(std::memory_order_acquire);
  const std::int64_t left = end == INT64_MAX ? kAtOnce : std::clamp<std::int64_t>(end - now + kForLogs, 0, kAtOnce);
  return left == 0 ? "" : "EXTEND_TIMEOUT_USEC=" + std::to_string(left / 1'000) + "\n";
}

std::string ManagerTalk::status(std::int64_t now) {
  const ManagerFigures figures = figures_();
  const double passed = static_cast<double>(now - counted_at_) / static_cast<double>(kOneSecond);
  const double rate = counted_at_ == 0 || passed <= 0 ? 0 : (figures.requests - requests_before_) / passed;
  const bool first = std::exchange(counted_at_, now) == 0;
  requests_before_ = figures.requests;
  std::string text = phase_.load(std::memory_order_acquire) == Phase::stopping ? "stopping" : "serving";
  text += ": " + (first ? "" : number(rate) + " requests/s, ") + number(figures.connections) + " connections, " +
          std::to_string(figures.fibers) + " fibers";
  const LockGuard guard(note_lock_);
  if (!note_.empty()) text += "; " + note_;
  return status_text(text);
}

void ManagerTalk::tell_status(std::int64_t now) noexcept {
  const Phase phase = phase_.load(std::memory_order_acquire);
  if (phase == Phase::starting || phase == Phase::reloading) return;
  try {
    const std::string more = phase == Phase::stopping ? extension(now) : "";
    (void)notifier_.notify(more + "STATUS=" + status(now));
  } catch (const std::exception&) {  // the next one, then
  }
}

void ManagerTalk::feed(std::int64_t now) noexcept {
  const microseconds watchdog = notifier_.watchdog();
  if (roll_.everyone()) {
    (void)notifier_.notify("WATCHDOG=1");
    fed_at_ = now;
    said_starving_ = false;
    return;
  }
  if (said_starving_ || now - fed_at_ < nanoseconds(watchdog).count() / 2) return;
  said_starving_ = true;
  try {
    log(LogLevel::error, std::to_string(roll_.missing()) + " Processors take up no fiber: the service manager's " +
                             "watchdog is not fed, and ends fiberd when that lasts (WatchdogSec=)");
  } catch (const std::bad_alloc&) {  // then it says so
  }
}

void ManagerTalk::loop() noexcept {
  const bool watched = notifier_.watchdog().count() != 0;
  const std::int64_t look = watched ? look_every(notifier_.watchdog()).count() : INT64_MAX;
  std::int64_t look_at = watched ? monotonic_now() : INT64_MAX;
  std::int64_t tell_at = monotonic_now();
  fed_at_ = monotonic_now();
  bool answers = false;  // they are waited for
  while (!over_.load(std::memory_order_acquire)) {
    const std::int64_t now = monotonic_now();
    if (now >= look_at) {
      feed(now);
      // Whoever was asked answers in a moment, and is looked at then: else what is told would be as old as a look.
      answers = !answers && roll_.missing() != 0;
      look_at = now + (answers ? std::min(look, kOneSecond / 50) : look);
    }
    const bool stopping = phase_.load(std::memory_order_acquire) == Phase::stopping;
    if (stopping) tell_at = std::min(tell_at, now + kOneSecond);
    if (now >= tell_at) {
      tell_status(now);
      tell_at = now + (stopping ? kOneSecond : nanoseconds(kStatusEvery).count());
    }
    const std::int64_t until = std::min(look_at, tell_at);
    const timespec at{static_cast<time_t>(until / kOneSecond), static_cast<long>(until % kOneSecond)};
    (void)sem_clockwait(&changed_, CLOCK_MONOTONIC, &at);
  }
}

void ManagerTalk::run(ManagerTalk* const& self) noexcept { self->loop(); }

}  // namespace fiberd::daemon
