#include "daemon/memory_governor.hpp"

#include <malloc.h>
#include <time.h>

#include <algorithm>
#include <exception>
#include <string>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/observe/catalogue.hpp"
#include "core/runtime/blocking.hpp"
#include "daemon/helper_thread.hpp"
#include "daemon/memory_guard.hpp"

namespace fiberd::daemon {

using observe::register_metric;
using std::chrono::milliseconds;

static constexpr auto kRelaxed = std::memory_order_relaxed;
static constexpr std::int64_t kSecond = 1'000'000'000;

/// At the last level: those that finish, drain and report must go on, those that serve somebody new must not begin.
static Result<void> admit_nobody_new(std::string_view name) noexcept {
  if (name == "http" || name == "http2 stream" || name == "tcp") return fail(std::errc::not_enough_memory);
  return {};
}

MemoryGovernor::MemoryGovernor(runtime::Runtime& runtime, Room& room, CpuFollower& cpus, metric::Registry& registry)
    : runtime_(runtime),
      room_(room),
      cpus_(cpus),
      gate_([](void* self) noexcept { static_cast<MemoryGovernor*>(self)->look_again(); }, this),
      leases_(registry) {
  sem_init(&again_, 0, 0);
  sem_init(&trim_, 0, 0);
  // malloc_trim() leaves alone what is free at the top of a thread's arena; free() gives that back, but for a threshold
  // that grows by itself to megabytes unless it is set.
  (void)mallopt(M_TRIM_THRESHOLD, 128 * 1024);
  export_metrics();
}

void MemoryGovernor::export_metrics() {
  metric::Registry& registry = leases_.registry();
  const auto show = [&](std::string_view name, metric::LabelValues labels, const std::atomic<std::uint64_t>& value,
                        double unit = 1) {
    leases_.callback(register_metric(registry, name), labels,
                     [&value, unit] { return static_cast<double>(value.load(kRelaxed)) * unit; });
  };
  show("fiberd_memory_charged_bytes", {"cgroup"}, group_charge_);
  show("fiberd_memory_charged_bytes", {"process"}, resident_);
  show("fiberd_memory_limit_bytes", {"cgroup"}, group_limit_);
  show("fiberd_memory_limit_bytes", {"process"}, own_limit_);
  show("fiberd_memory_stalled_seconds_total", {"some"}, some_us_, 1e-6);
  show("fiberd_memory_stalled_seconds_total", {"full"}, full_us_, 1e-6);
  show("fiberd_memory_looks_total", {}, looks_);
  leases_.callback(register_metric(registry, "fiberd_memory_level"), {},
                   [this] { return static_cast<double>(level()); });
  for (std::size_t i = 1; i < kMemoryLevels; ++i)
    entered_[i] = &leases_.counter(register_metric(registry, "fiberd_memory_level_entered_total"),
                                   {to_string(static_cast<MemoryLevel>(i))});
  static constexpr std::array<std::string_view, flow::kPriorities> kNames{"low", "normal", "high"};
  for (std::size_t i = 0; i < kNames.size(); ++i)
    leases_.callback(register_metric(registry, "fiberd_memory_shed_total"), {kNames[i]}, [this, i] {
      return static_cast<double>(gate_.pressure().counted(static_cast<flow::Priority>(i)));
    });
  trims_ = &leases_.counter(register_metric(registry, "fiberd_memory_trims_total"));
  given_back_ = &leases_.counter(register_metric(registry, "fiberd_memory_given_back_bytes_total"));
  cut_ = &leases_.counter(register_metric(registry, "fiberd_memory_cut_total"));
  leases_.callback(register_metric(registry, "fiberd_gomaxprocs_changes_total"), {},
                   [this] { return static_cast<double>(cpus_.changes()); });
}

void MemoryGovernor::use(const config::MemoryConfig& config, std::uint64_t own_limit) noexcept {
  {
    const LockGuard guard(settings_lock_);
    settings_ = {config.governor, own_limit, memory_thresholds(config.trim_at, config.shed_at)};
  }
  look_again();
}

// ---------------------------------------------------------------------------------------------- the thread

void MemoryGovernor::look_at_stalls(std::int64_t now) {
  if (now - stalled_at_ < kSecond) return;
  static const std::string kMachine = "/proc/pressure/memory";
  std::string file = group_.pressure_file();
  std::optional<runtime::StallTimes> times;
  if (!file.empty()) times = runtime::read_stall_times(file);
  const bool own = times.has_value();
  if (!own) times = runtime::read_stall_times(file = kMachine);
  stalls_ = {};
  if (times && stalled_before_ && file == stalled_in_)
    stalls_ = stall_shares(*stalled_before_, *times, std::chrono::nanoseconds(now - stalled_at_), own);
  if (times) {
    some_us_.store(times->some_us, kRelaxed);
    full_us_.store(times->full_us, kRelaxed);
  }
  stalled_before_ = times;
  stalled_in_ = std::move(file);
  stalled_at_ = now;
}

void MemoryGovernor::say(MemoryLevel before, MemoryLevel level, Whose whose,
                         const runtime::MemoryCharge& nearest) const {
  static constexpr std::array<const char*, kMemoryLevels> kWhat{
      "all work is accepted",
      "caches are emptied, what is free is given back",
      "idle connections are closed, requests of low priority are answered 503",
      "new TCP connections are closed, requests of low and normal priority are answered 503",
      "new TCP connections are closed, all new requests are answered 503",
      "new connections are closed"};
  std::string line = "memory: " + std::string(to_string(level)) + " after " + std::string(to_string(before)) + ": ";
  if (whose != Whose::nobody)
    line += std::to_string(nearest.charge >> 20U) + " MiB of " + std::to_string(nearest.limit >> 20U) + " MiB " +
            (whose == Whose::group ? "charged to the control group" : "resident (memory.limit)") + ", ";
  if (stalls_.some > 0.005)
    line += std::to_string(static_cast<int>(stalls_.some * 100)) + " % of the time some task waited for memory, ";
  line += kWhat[static_cast<std::size_t>(level)];
  log(level >= MemoryLevel::shed_normal ? LogLevel::error
      : level != MemoryLevel::normal    ? LogLevel::warning
                                        : LogLevel::info,
      line);
}

void MemoryGovernor::act(MemoryLevel level, Whose whose, const runtime::MemoryCharge& nearest, double expected,
                         const Settings& settings) {
  if (whose == Whose::nobody) {
    gate_.open();
  } else {
    // What comes until the next look from those who do not ask has its place, too.
    const auto soon = static_cast<std::uint64_t>(expected * static_cast<double>(nearest.limit));
    const runtime::MemoryCharge ahead{std::max(soon, nearest.charge), nearest.limit};
    const std::int64_t left = connections_left(ahead, settings.thresholds);
    const std::int64_t more = connections_left(ahead, settings.thresholds, MemoryLevel::last) - left;
    gate_.bound(left, more, level == MemoryLevel::last);
  }
  if (const std::shared_ptr<http::OpenFiles> files = room_.files(); files != nullptr) {
    const std::uint64_t more = whose == Whose::nobody ? UINT64_MAX : cache_growth(nearest, settings.thresholds);
    files->bound_memory(more == UINT64_MAX ? more : files->memory() + more);
  }
  const MemoryLevel before = level_.load(kRelaxed);
  if (level == before) return;
  const auto shed = level < MemoryLevel::shed_low ? 0U : static_cast<unsigned>(level) - 1U;
  gate_.pressure().shed(shed);
  if (level == MemoryLevel::last) runtime_.set_admission_hook(&admit_nobody_new);
  if (before == MemoryLevel::last) runtime_.set_admission_hook(nullptr);
  level_.store(level, kRelaxed);
  if (level > before) entered_[static_cast<std::size_t>(level)]->add();
  say(before, level, whose, nearest);
}

milliseconds MemoryGovernor::look_and_act(std::int64_t now) {
  Settings settings;
  {
    const LockGuard guard(settings_lock_);
    settings = settings_;
  }
  looks_.fetch_add(1, kRelaxed);
  const runtime::MemoryCharge group = group_.look(now);
  const runtime::MemoryCharge process{resident_bytes(), settings.own_limit};
  group_charge_.store(group.charge, kRelaxed);
  group_limit_.store(group.limit, kRelaxed);
  resident_.store(process.charge, kRelaxed);
  own_limit_.store(process.limit, kRelaxed);
  look_at_stalls(now);
  if (!settings.on) {
    growth_.forget();
    rule_ = {};
    act(MemoryLevel::normal, Whose::nobody, {}, 0, settings);
    return milliseconds(500);
  }
  const bool own = process.limit != 0 && (group.limit == 0 || process.share() > group.share());
  const Whose whose = own ? Whose::process : group.limit != 0 ? Whose::group : Whose::nobody;
  const runtime::MemoryCharge nearest = own ? process : group;
  settings.thresholds = within(settings.thresholds, nearest.limit);
  charge_.store(nearest.charge, kRelaxed);
  limit_.store(nearest.limit, kRelaxed);
  const double growth = growth_.look(static_cast<unsigned>(whose), nearest.charge, now);
  const double expected = expected_share(nearest, growth, milliseconds(20));
  const MemoryLevel level = rule_.look(settings.thresholds, nearest.share(), expected, stalls_, now);
  act(level, whose, nearest, expected, settings);
  let_trim(level, now);
  let_cut(nearest, growth, settings.thresholds);
  return pause_after(nearest, growth, settings.thresholds, level);
}

milliseconds MemoryGovernor::look() noexcept {
  try {
    return look_and_act(monotonic_now());
  } catch (const std::exception&) {  // no memory for names of files: what was decided last goes on
    log(LogLevel::error, "memory cannot be looked at");
    return milliseconds(100);
  }
}

void MemoryGovernor::run(MemoryGovernor* const& governor) noexcept {
  MemoryGovernor& self = *governor;
  while (!self.stopping_.load(std::memory_order_acquire)) {
    const std::int64_t at = monotonic_now() + std::chrono::nanoseconds(self.look()).count();
    const timespec until{static_cast<time_t>(at / kSecond), static_cast<long>(at % kSecond)};
    (void)sem_clockwait(&self.again_, CLOCK_MONOTONIC, &until);
    // Several wishes are one.
    while (sem_trywait(&self.again_) == 0) {
    }
  }
}

void MemoryGovernor::run_trimmer(MemoryGovernor* const& governor) noexcept {
  MemoryGovernor& self = *governor;
  for (;;) {
    (void)sem_wait(&self.trim_);
    if (self.stopping_.load(std::memory_order_acquire)) return;
    if (!self.trimming_.load(std::memory_order_acquire)) continue;
    self.last_trimmed_.store(self.trim(self.gently_.load(kRelaxed)), kRelaxed);
    self.trimming_.store(false, std::memory_order_release);
  }
}

void MemoryGovernor::let_trim(MemoryLevel level, std::int64_t now) noexcept {
  if (!trimmer_ || trimming_.load(std::memory_order_acquire)) return;
  if (trim_begun_) {
    trim_begun_ = false;
    pace_.trimmed(now, last_trimmed_.load(kRelaxed), std::max<std::uint64_t>(limit_.load(kRelaxed), 1));
  }
  if (level == MemoryLevel::normal) {
    pace_.reset();
    timespec cpu{};
    if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &cpu) != 0) return;
    const auto spent = static_cast<std::uint64_t>(cpu.tv_sec) * kSecond + static_cast<std::uint64_t>(cpu.tv_nsec);
    if (!calm_.due(now, resident_.load(kRelaxed), spent)) return;
  } else {
    if (!pace_.due(now)) return;
    trim_begun_ = true;
  }
  gently_.store(level == MemoryLevel::normal, kRelaxed);
  trimming_.store(true, std::memory_order_release);
  (void)sem_post(&trim_);
}

/// What the kernel holds for connections that are being served grows without anybody's asking: who sends while nobody
/// reads, who does not read what is sent to him. Nothing but the end of a connection gives it back.
void MemoryGovernor::let_cut(const runtime::MemoryCharge& nearest, double growth,
                             const MemoryThresholds& thresholds) noexcept {
  const std::uint64_t bytes = bytes_to_cut(nearest, growth, thresholds);
  to_cut_.store(bytes, kRelaxed);
  if (bytes == 0) return;
  if (const runtime::Ticket watcher{watcher_.exchange(0)}) runtime::wake(watcher);
}

void MemoryGovernor::start(runtime::Cancellation& until) {
  using Self = MemoryGovernor* const;
  (void)look();
  pthread_t thread{};
  if (const std::error_code error =
          start_helper<Self, &MemoryGovernor::run_trimmer>(thread, "fiberd-trim", std::make_shared<Self>(this)))
    log(LogLevel::error, "memory is not given back: the thread for it cannot be started: " + error.message());
  else
    trimmer_ = thread;
  if (const std::error_code error =
          start_helper<Self, &MemoryGovernor::run>(thread, "fiberd-memory", std::make_shared<Self>(this))) {
    // Else the look above bounds how many are let in, and no other ever renews it.
    gate_.open();
    log(LogLevel::error, "memory is not watched: the thread for it cannot be started: " + error.message());
  } else {
    thread_ = thread;
  }
  const Result<void> watching = runtime_.spawn("memory", [this, &until] { watch(until); });
  if (!watching)
    log(LogLevel::error, "idle connections are not closed when memory runs short, and GOMAXPROCS follows nothing: " +
                             watching.error().message());
}

void MemoryGovernor::stop() noexcept {
  stopping_.store(true, std::memory_order_release);
  look_again();
  (void)sem_post(&trim_);
  for (std::optional<pthread_t>* const thread : {&thread_, &trimmer_})
    if (thread->has_value()) {
      (void)pthread_join(**thread, nullptr);
      thread->reset();
    }
  if (level() == MemoryLevel::last) runtime_.set_admission_hook(nullptr);
  level_.store(MemoryLevel::normal, kRelaxed);
  gate_.open();
  gate_.pressure().shed(0);
}

// ---------------------------------------------------------------------------------------------- the fiber

std::uint64_t MemoryGovernor::trim(bool gently) noexcept {
  // malloc keeps what was freed between what was not: after a crowd has gone that is most of what it cost. Free stacks
  // and workspaces go back by themselves a second after they were needed last.
  const std::uint64_t before = resident_bytes();
  if (!gently)
    if (const std::shared_ptr<http::OpenFiles> files = room_.files(); files != nullptr) files->clear();
  (void)malloc_trim(0);
  const std::uint64_t after = resident_bytes();
  const std::uint64_t back = before - std::min(before, after);
  trims_->add();
  given_back_->add(back);
  return back;
}

void MemoryGovernor::cut() noexcept {
  // What was cut last is given back when its fibers have had their turn.
  static constexpr std::int64_t kPause = kSecond / 50;
  if (to_cut_.load(kRelaxed) == 0) return;
  const std::int64_t now = monotonic_now();
  if (now - cut_at_ < kPause) return;
  const std::size_t n = room_.cut_fullest(to_cut_.exchange(0, kRelaxed));
  cut_at_ = monotonic_now();
  if (n == 0) return;
  cut_->add(n);
  if (const auto left_out = cut_said_.pass(now)) {
    try {
      log(LogLevel::error,
          "memory: " + std::to_string(n) + " connections are cut that have the most in their sockets" +
              (*left_out != 0 ? "; " + std::to_string(*left_out) + " times more since the last line" : ""));
    } catch (const std::exception&) {
      log(LogLevel::error, "memory: connections are cut that have the most in their sockets");
    }
  }
}

/// A tenth of a second, or until connections are to be cut.
void MemoryGovernor::pause(runtime::Cancellation& until) noexcept {
  const runtime::Ticket wait = runtime::prepare_park(runtime::WaitReason::sleep);
  watcher_.store(wait.value);
  (void)runtime::park_until(wait, Deadline::in(milliseconds(100)), &until);
  watcher_.store(0);
}

void MemoryGovernor::watch(runtime::Cancellation& until) {
  static constexpr std::size_t kCrowd = 256;
  static constexpr std::int64_t kPause = 5 * kSecond;
  static constexpr std::int64_t kHalf = kSecond / 2;
  std::size_t crowd = 0;
  std::int64_t trimmed = 0;
  std::int64_t parted = 0;
  std::int64_t swept = 0;
  std::int64_t cpus_seen = monotonic_now();
  const auto go_on = [&] {
    const std::int64_t now = monotonic_now();
    const std::size_t open = room_.connections();
    crowd = std::max(crowd, open);
    // What idle connections hold is what can be had back without hurting anybody.
    if (level() >= MemoryLevel::shed_low && now - parted >= kHalf) {
      parted = now;
      room_.part_with_some();
    }
    // Closing what was deleted frees its disk space, which may take a while.
    if (const auto files = room_.files(); files != nullptr && files->files() != 0 && now - swept >= kHalf) {
      swept = now;
      runtime::blocking([&] { files->sweep(monotonic_now()); });
    }
    if (crowd >= kCrowd && open < crowd / 2 && now - trimmed >= kPause) {
      runtime::blocking([&] { (void)trim(); });
      trimmed = monotonic_now();
      crowd = open;
    }
    if (now - cpus_seen >= kSecond) {
      cpus_seen = now;
      runtime::blocking([&] { cpus_.look(); });
    }
  };
  while (!until.canceled()) {
    try {
      go_on();
    } catch (const std::exception&) {  // no memory, or no thread is to be had: again in a moment
    }
    pause(until);
    cut();
  }
}

}  // namespace fiberd::daemon
