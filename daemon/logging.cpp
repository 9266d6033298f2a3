// spdlog formats, and a LineWriter writes: whoever logs puts a line into a queue and goes on, be it a fiber, or the
// thread that acts on signals. A crash would lose what is still in the queue, so whoever sees one coming waits for the
// writer's thread, which runs on, for a moment: flush_log().
#include "daemon/logging.hpp"

#include <limits.h>
#include <signal.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/sink.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <memory>

#include "core/base/clock.hpp"
#include "core/base/guarded_write.hpp"
#include "core/base/json.hpp"
#include "core/base/lock.hpp"
#include "core/base/log_flush.hpp"
#include "core/base/log_place.hpp"
#include "daemon/journal.hpp"
#include "daemon/line_ring.hpp"
#include "daemon/line_writer.hpp"
#include "daemon/stop_watchdog.hpp"

namespace fiberd::daemon {

namespace {

/// One JSON object a line. Everything that could end a string early or break a line is escaped.
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    time_.format(message, out);
    append(out, "\",\"level\":\"");
    const auto level = spdlog::level::to_string_view(message.level);
    out.append(level.data(), level.data() + level.size());
    append(out, "\",\"message\":\"");
    for (const char c : std::string_view(message.payload.data(), message.payload.size()))
      append(out, c == '\n' ? "\\n" : JsonByte(c).text());
    append(out, "\"}\n");
  }
  [[nodiscard]] std::unique_ptr<formatter> clone() const override { return std::make_unique<JsonFormatter>(); }

 private:
  static void append(spdlog::memory_buf_t& out, std::string_view text) {
    out.append(text.data(), text.data() + text.size());
  }
  spdlog::pattern_formatter time_{R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z)", spdlog::pattern_time_type::local, ""};
};

LogLevel from_spdlog(spdlog::level::level_enum level) noexcept {
  switch (level) {
    case spdlog::level::trace:
    case spdlog::level::debug: return LogLevel::debug;
    case spdlog::level::info: return LogLevel::info;
    case spdlog::level::warn: return LogLevel::warning;
    default: return LogLevel::error;
  }
}

/// The journal has a clock of its own.
class JournalFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& out) override {
    const spdlog::source_loc& at = message.source;
    const JournalPlace place{.file = at.filename != nullptr ? at.filename : "",
                             .line = static_cast<unsigned>(at.line),
                             .function = at.funcname != nullptr ? at.funcname : ""};
    const std::string line =
        journal_line(from_spdlog(message.level), place, {message.payload.data(), message.payload.size()});
    out.append(line.data(), line.data() + line.size());
  }
  [[nodiscard]] std::unique_ptr<formatter> clone() const override { return std::make_unique<JournalFormatter>(); }
};

/// The lines that wait to be written.
class LogQueue final : public LineSource {
 public:
  /// False: dropped.
  bool push(std::string_view line) noexcept {
    const LockGuard guard(lock_);
    if (ring_.push(line.data(), line.size())) return true;
    lost(1);
    return false;
  }
  std::size_t take(char* out, std::size_t room) noexcept override {
    const std::size_t n = ring_.take(out, room);
    // Now there is room to say it.
    if (n != 0 && !closing.load(std::memory_order_acquire))
      if (const std::uint64_t missing = unsaid_.exchange(0, std::memory_order_relaxed); missing != 0) {
        char text[96];
        const int size = std::snprintf(text, sizeof text, "%llu lines of this log were dropped: nobody read it in time",
                                       static_cast<unsigned long long>(missing));
        log(LogLevel::warning, {text, static_cast<std::size_t>(std::max(size, 0))});
      }
    return n;
  }
  [[nodiscard]] bool empty() const noexcept override { return ring_.empty(); }
  [[nodiscard]] std::uint64_t lines() const noexcept override { return ring_.lines(); }
  void lost(std::uint64_t lines) noexcept override {
    unsaid_.fetch_add(lines, std::memory_order_relaxed);
    dropped.fetch_add(lines, std::memory_order_relaxed);
  }

  static inline std::atomic<std::uint64_t> dropped{0};
  std::atomic<bool> closing{false};  // what is missing then is said elsewhere

 private:
  Lock lock_;  // producers'
  LineRing ring_;
  std::atomic<std::uint64_t> unsaid_{0};
};

/// What is installed at a time.
struct Log {
  std::shared_ptr<LogQueue> queue;
  std::unique_ptr<LineWriter> writer;
  std::shared_ptr<spdlog::logger> logger;
};

class QueueSink final : public spdlog::sinks::sink {
 public:
  /// A pipe takes PIPE_BUF bytes in one piece: nobody who writes to the same one (an access log) gets into its middle.
  QueueSink(std::shared_ptr<LogQueue> queue, LineWriter& writer)
      : queue_(std::move(queue)), writer_(writer), most_(is_journal(writer) ? SIZE_MAX : PIPE_BUF) {}
  void log(const spdlog::details::log_msg& message) override {
    spdlog::memory_buf_t line;
    {
      const LockGuard guard(lock_);
      formatter_->format(message, line);
      if (line.size() > most_) format_cut(message, line);
    }
    if (queue_->push({line.data(), line.size()})) writer_.wake();
  }
  void flush() override {}
  void set_pattern(const std::string& pattern) override {
    set_formatter(std::make_unique<spdlog::pattern_formatter>(pattern));
  }
  void set_formatter(std::unique_ptr<spdlog::formatter> formatter) override {
    const LockGuard guard(lock_);
    formatter_ = std::move(formatter);
  }

 private:
  static bool is_journal(const LineWriter& writer) { return output_kind(writer.output()) == OutputKind::journal; }

  void format_cut(const spdlog::details::log_msg& message, spdlog::memory_buf_t& line) FIBERD_REQUIRES(lock_) {
    static constexpr std::string_view kCut = " [cut]";
    static constexpr std::size_t kAnyway = 512;  // fits though each byte becomes six
    spdlog::details::log_msg shorter = message;
    std::string text;
    for (std::size_t keep = message.payload.size(); line.size() > most_ && keep != 0;) {
      const std::size_t excess = line.size() - most_ + kCut.size();
      keep = keep > excess ? keep - excess : std::min(keep / 2, kAnyway);
      text.assign(message.payload.data(), keep).append(kCut);
      shorter.payload = {text.data(), text.size()};
      line.clear();
      formatter_->format(shorter, line);
    }
  }

  Lock lock_;  // formatters keep the last second's text
  std::unique_ptr<spdlog::formatter> formatter_ FIBERD_GUARDED_BY(lock_);
  std::shared_ptr<LogQueue> queue_;
  LineWriter& writer_;
  const std::size_t most_;
};

struct State {
  Lock lock;  // held for a pointer's copy only
  std::shared_ptr<Log> log FIBERD_GUARDED_BY(lock);
  std::atomic<Log*> latest{nullptr};  // for who may take no lock
};

State& state() {
  static State* const instance = new State;  // loggers outlive everything that may still log at exit
  return *instance;
}

std::shared_ptr<Log> current() noexcept {
  State& s = state();
  const LockGuard guard(s.lock);
  return s.log;
}

spdlog::level::level_enum to_spdlog(LogLevel level) noexcept {
  switch (level) {
    case LogLevel::debug: return spdlog::level::debug;
    case LogLevel::info: return spdlog::level::info;
    case LogLevel::warning: return spdlog::level::warn;
    case LogLevel::error: return spdlog::level::err;
  }
  return spdlog::level::info;
}

void sink(LogLevel level, std::string_view message, const SourceLocation& place) noexcept {
  const auto log = current();
  if (log != nullptr)
    log->logger->log(spdlog::source_loc{place.file_name(), static_cast<int>(place.line()), place.function_name()},
                     to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

/// The journal where systemd has put it, standard error elsewhere.
std::string resolved(const std::string& output) {
  if (output != "auto") return output;
  return is_journal_stream(STDERR_FILENO) || is_journal_stream(STDOUT_FILENO) ? "journal" : "stderr";
}

void flush_for_a_moment() noexcept {
  static constexpr std::chrono::milliseconds kMoment{200};
  if (const Log* const log = state().latest.load(std::memory_order_acquire)) (void)log->writer->flush(kMoment);
}

/// abort(3) goes on when it returns, with the default action. Who sends the signal from outside, a service manager
/// whose watchdog has starved, wants to know why: a thread that nothing holds says it, and ends the process.
void on_abort(int, siginfo_t* info, void*) noexcept {
  const bool from_outside = info != nullptr && info->si_code == SI_USER && info->si_pid != ::getpid();
  if (from_outside && StopWatchdog::abort_from_signal()) return;
  flush_for_a_moment();
  if (from_outside) (void)::raise(SIGABRT);  // when this has returned, by the default action
}

}  // namespace

LogOptions options_of(const config::LogConfig& config) {
  std::vector<std::pair<LogModule, LogLevel>> modules;
  for (const auto& [module, level] : config.modules) modules.emplace_back(module, static_cast<LogLevel>(level));
  return {.level = static_cast<LogLevel>(config.level),
          .modules = std::move(modules),
          .format = config.format == config::LogFormat::json ? LogFormat::json : LogFormat::text,
          .output = config.output};
}

std::array<LogLevel, kLogModules.size()> levels_of(const LogOptions& options) noexcept {
  std::array<LogLevel, kLogModules.size()> levels{};
  levels.fill(options.level);
  for (const auto& [module, level] : options.modules) levels[static_cast<std::size_t>(module)] = level;
  return levels;
}

Result<void> open_log(const LogOptions& options, std::string& why) {
  auto log = std::make_shared<Log>();
  auto writer = LineWriter::open({.output = resolved(options.output), .says_when_stuck = false}, why);
  if (!writer) return fail(writer.error());
  log->writer = std::move(*writer);
  log->queue = std::make_shared<LogQueue>();
  (void)log->writer->add(log->queue);
  log->logger = std::make_shared<spdlog::logger>("fiberd", std::make_shared<QueueSink>(log->queue, *log->writer));
  if (output_kind(log->writer->output()) == OutputKind::journal)
    log->logger->set_formatter(std::make_unique<JournalFormatter>());
  else if (options.format == LogFormat::json)
    log->logger->set_formatter(std::make_unique<JsonFormatter>());
  else
    log->logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  log->logger->set_level(spdlog::level::trace);  // what is below a module's level does not get here
  // A line that cannot be formatted for want of memory. spdlog's own would write to standard error, and wait.
  log->logger->set_error_handler([queue = log->queue](const std::string&) { queue->lost(1); });
  if (const std::error_code error = log->writer->start()) {
    why = "no thread to write it: " + error.message();
    return fail(error);
  }
  State& s = state();
  {
    const LockGuard guard(s.lock);
    s.log.swap(log);
    s.latest.store(s.log.get(), std::memory_order_release);
  }
  static constexpr std::chrono::milliseconds kPatience{200};
  if (log != nullptr) (void)log->writer->stop(kPatience, monotonic_now() + std::chrono::nanoseconds(kPatience).count());
  const auto levels = levels_of(options);
  for (std::size_t i = 0; i < levels.size(); ++i) set_log_level(static_cast<LogModule>(i), levels[i]);
  set_placed_log_sink(&sink);
  set_log_flush(&flush_for_a_moment);
  struct sigaction abort {};
  abort.sa_sigaction = &on_abort;
  abort.sa_flags = static_cast<int>(SA_ONSTACK | SA_RESETHAND | SA_SIGINFO);
  sigfillset(&abort.sa_mask);
  (void)sigaction(SIGABRT, &abort, nullptr);
  return {};
}

void reopen_log() noexcept {
  if (const auto log = current()) log->writer->reopen();
}

std::uint64_t log_lines_dropped() noexcept { return LogQueue::dropped.load(std::memory_order_relaxed); }

bool log_is_on_terminal() noexcept {
  const auto log = current();
  const OutputKind kind = log == nullptr ? OutputKind::standard_error : output_kind(log->writer->output());
  struct stat out {};
  struct stat err {};
  return kind == OutputKind::standard_error || (kind == OutputKind::journal && is_journal_stream(STDERR_FILENO)) ||
         (kind == OutputKind::standard_output && ::fstat(STDOUT_FILENO, &out) == 0 &&
          ::fstat(STDERR_FILENO, &err) == 0 && out.st_dev == err.st_dev && out.st_ino == err.st_ino);
}

void say_on_stderr(std::string_view line) noexcept {
  static constexpr int kPatience = 200;  // ms
  char text[4096];
  const std::string_view prefix = error_prefix();
  char* const begin = std::copy(prefix.begin(), prefix.end(), text);
  char* const end = std::copy_n(line.data(), std::min(line.size(), sizeof text - 1 - prefix.size()), begin);
  *end = '\n';
  (void)write_guarded(STDERR_FILENO, {text, static_cast<std::size_t>(end + 1 - text)}, kPatience);
}

void close_log(std::chrono::milliseconds patience, std::int64_t deadline) noexcept {
  const auto log = current();
  if (log == nullptr) return;
  // Whoever still logs does it by itself.
  log->queue->closing.store(true, std::memory_order_release);
  set_log_sink(nullptr);
  set_log_flush(nullptr);
  const std::uint64_t lost = log->writer->stop(patience, deadline);
  if (lost == 0 || log_is_on_terminal()) return;
  char text[128];
  const int size = std::snprintf(
      text, sizeof text, "fiberd: %llu lines of the log were not written: nobody reads it, or it cannot be written",
      static_cast<unsigned long long>(lost));
  say_on_stderr({text, static_cast<std::size_t>(std::max(size, 0))});
}

}  // namespace fiberd::daemon
