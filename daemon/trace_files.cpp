#include "daemon/trace_files.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <ctime>
#include <exception>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/base/log_limit.hpp"
#include "core/observe/catalogue.hpp"
#include "core/observe/perfetto_trace.hpp"
#include "core/runtime/trace.hpp"
#include "daemon/helper_thread.hpp"

namespace fiberd::daemon {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kPrefix = "fiberd-trace-";
constexpr std::string_view kEnding = ".pftrace";
constexpr std::string_view kUnfinished = ".part";

struct Kept {
  std::string name;
  std::uint64_t bytes = 0;
};

/// Whether nobody writes it any more: who does has a lock on it, which ends with him.
bool is_left_over(const fs::path& part) noexcept {
  const int fd = ::open(part.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return false;
  const bool free = ::flock(fd, LOCK_EX | LOCK_NB) == 0;
  ::close(fd);
  return free;
}

/// Ours, the oldest first: names begin with the time. What a daemon left unfinished when it was killed is removed.
std::vector<Kept> list(const std::string& directory, std::error_code& error) {
  std::vector<Kept> all;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    std::string name = at->path().filename().string();
    if (!name.starts_with(kPrefix)) continue;
    if (name.ends_with(std::string(kEnding) + std::string(kUnfinished)) && is_left_over(at->path())) {
      (void)::unlink(at->path().c_str());
      continue;
    }
    if (!name.ends_with(kEnding)) continue;
    std::error_code gone;
    const std::uintmax_t bytes = at->file_size(gone);
    if (!gone) all.push_back({std::move(name), bytes});
  }
  std::sort(all.begin(), all.end(), [](const Kept& a, const Kept& b) { return a.name < b.name; });
  return all;
}

std::error_code present_error() noexcept { return {errno, std::generic_category()}; }

}  // namespace

struct TraceFiles::State {
  Lock lock;
  config::TraceConfig config FIBERD_GUARDED_BY(lock);
  std::atomic<bool> closed{false};
  std::array<metric::Counter*, 2> written{};  // by latency, by stall
  metric::Counter* too_soon = nullptr;
  metric::Counter* failed = nullptr;
  metric::Counter* too_large = nullptr;
  std::int64_t last = INT64_MIN;
  bool said = false;  // that files cannot be written: once, until one could
  unsigned number = 0;

  static void count(metric::Counter* counter) noexcept {
    if (counter != nullptr) counter->add();
  }
  void complain(const config::TraceConfig& c, std::string_view what, std::error_code error) noexcept {
    count(failed);
    if (std::exchange(said, true)) return;
    try {
      log(LogLevel::error, "trace: " + std::string(what) + " in " + c.directory + ": " + error.message() +
                               "; this is said once, and counted in fiberd_trace_files_refused_total");
    } catch (const std::bad_alloc&) {
      log(LogLevel::error, "trace: no file could be written, and memory to say why is out");
    }
  }
  void keep(const config::TraceConfig& c, runtime::trace::Cause cause);
  [[nodiscard]] std::error_code write(int fd, std::uint64_t most, bool& large) const;
  /// Makes room for one more of `bytes`.
  [[nodiscard]] static std::error_code make_room(const config::TraceConfig& c, std::uint64_t bytes);
};

std::error_code TraceFiles::State::write(int fd, std::uint64_t most, bool& large) const {
  std::uint64_t size = 0;
  const Result<void> told =
      observe::write_trace(std::chrono::nanoseconds(0), [&](std::string_view piece) -> Result<void> {
        if (closed.load(std::memory_order_acquire)) return fail(std::errc::operation_canceled);
        size += piece.size();
        large = size > most;
        if (large) return fail(std::errc::file_too_large);
        while (!piece.empty()) {
          const ssize_t n = ::write(fd, piece.data(), piece.size());
          if (n < 0 && errno == EINTR) continue;
          if (n < 0) return fail(present_error());
          piece.remove_prefix(static_cast<std::size_t>(n));
        }
        return {};
      });
  return told ? std::error_code() : told.error();
}

std::error_code TraceFiles::State::make_room(const config::TraceConfig& c, std::uint64_t bytes) {
  std::error_code error;
  const std::vector<Kept> kept = list(c.directory, error);
  if (error) return error;
  std::uint64_t sum = bytes;
  for (const Kept& k : kept) sum += k.bytes;
  std::size_t left = kept.size();
  for (const Kept& k : kept) {
    if (left < c.max_files && sum <= c.max_bytes) break;
    fs::remove(fs::path(c.directory) / k.name, error);
    if (error) return error;
    sum -= k.bytes;
    --left;
  }
  return {};
}

void TraceFiles::State::keep(const config::TraceConfig& c, runtime::trace::Cause cause) {
  const bool stall = cause == runtime::trace::Cause::stall;
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  std::array<char, 32> time{};
  gmtime_r(&now, &parts);
  (void)std::strftime(time.data(), time.size(), "%Y%m%dT%H%M%SZ", &parts);
  const std::string name = std::string(kPrefix) + time.data() + "-" + std::to_string(::getpid()) + "-" +
                           std::to_string(++number) + (stall ? "-stall" : "-latency") + std::string(kEnding);
  const fs::path path = fs::path(c.directory) / name;
  const fs::path part = path.string() + std::string(kUnfinished);
  const int fd = ::open(part.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
  if (fd < 0) return complain(c, "no file can be made", present_error());
  (void)::flock(fd, LOCK_EX | LOCK_NB);  // where there are no locks, what is left over stays
  bool large = false;
  std::error_code error = write(fd, c.max_bytes, large);
  const off_t size = ::lseek(fd, 0, SEEK_CUR);
  if (!error) error = make_room(c, size > 0 ? static_cast<std::uint64_t>(size) : 0);
  if (!error && ::rename(part.c_str(), path.c_str()) != 0) error = present_error();
  if (::close(fd) != 0 && !error) error = present_error();
  if (error) {
    (void)::unlink(part.c_str());
    (void)::unlink(path.c_str());  // renamed, and then its end could not be written
    if (large) return count(too_large);
    if (closed.load(std::memory_order_acquire)) return;
    return complain(c, "a file cannot be written", error);
  }
  said = false;
  count(written[stall ? 1 : 0]);
  log(LogLevel::warning, std::string("trace: ") +
                             (stall ? "a fiber has held its Processor" : "a request took trace.on_latency or longer") +
                             ": what went before is in " + path.string());
}

TraceFiles::TraceFiles() : state_(std::make_shared<State>()) {}

void TraceFiles::count_in(metric::Registry& registry) {
  metric::Family& files = observe::register_metric(registry, "fiberd_trace_files_total");
  metric::Family& refused = observe::register_metric(registry, "fiberd_trace_files_refused_total");
  state_->written = {&registry.counter(files, {"latency"}), &registry.counter(files, {"stall"})};
  state_->too_soon = &registry.counter(refused, {"interval"});
  state_->failed = &registry.counter(refused, {"error"});
  state_->too_large = &registry.counter(refused, {"size"});
}

void TraceFiles::use(const config::TraceConfig& config) {
  const bool wanted = !config.directory.empty() && (config.on_latency.count() != 0 || config.on_stall);
  {
    const LockGuard guard(state_->lock);
    state_->config = config;
  }
  const LockGuard guard(lock_);
  if (closed_) return;
  runtime::trace::watch(wanted ? config.on_latency : std::chrono::nanoseconds(0), wanted && config.on_stall);
  if (!wanted || started_) return;
  if (const std::error_code error = start_helper<State, &TraceFiles::run>(thread_, "fiberd-traces", state_))
    log(LogLevel::error, "trace: no thread to write files: " + error.message());
  else
    started_ = true;
}

void TraceFiles::close() noexcept {
  pthread_t last{};
  {
    const LockGuard guard(lock_);
    if (std::exchange(closed_, true) || !started_) return;
    state_->closed.store(true, std::memory_order_release);
    runtime::trace::close_watch();
    last = thread_;
  }
  pthread_join(last, nullptr);
}

void TraceFiles::run(State& state) noexcept {
  for (;;) {
    const runtime::trace::Cause cause = runtime::trace::wait_for_cause();
    if (cause == runtime::trace::Cause::closed) return;
    try {
      config::TraceConfig config;
      {
        const LockGuard guard(state.lock);
        config = state.config;
      }
      if (config.directory.empty()) continue;  // a reload has ended it meanwhile
      const std::int64_t now = monotonic_now();
      if (state.last != INT64_MIN && now < time_after(state.last, config.interval)) {
        State::count(state.too_soon);
        continue;
      }
      state.last = now;
      state.keep(config, cause);
    } catch (const std::exception&) {
      State::count(state.failed);
      log(LogLevel::error, "trace: no memory to write a file");
    }
  }
}

std::vector<metric::CallbackHandle> count_traces(metric::Registry& registry, const runtime::Tracer& tracer) {
  std::vector<metric::CallbackHandle> counts;
  const auto add = [&](const char* name, std::uint64_t runtime::TraceStats::*member) {
    counts.push_back(registry.callback(observe::register_metric(registry, name), {},
                                       [&tracer, member] { return static_cast<double>(tracer.stats().*member); }));
  };
  add("fiberd_trace_events_total", &runtime::TraceStats::events);
  add("fiberd_trace_lost_total", &runtime::TraceStats::lost);
  add("fiberd_trace_bytes", &runtime::TraceStats::bytes);
  return counts;
}

}  // namespace fiberd::daemon
