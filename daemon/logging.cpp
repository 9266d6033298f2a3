#include "daemon/logging.hpp"

#include <fcntl.h>
#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <memory>

#include "core/base/lock.hpp"

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
    for (const char c : std::string_view(message.payload.data(), message.payload.size())) escape(c, out);
    append(out, "\"}\n");
  }
  [[nodiscard]] std::unique_ptr<formatter> clone() const override { return std::make_unique<JsonFormatter>(); }

 private:
  static void append(spdlog::memory_buf_t& out, std::string_view text) {
    out.append(text.data(), text.data() + text.size());
  }
  static void escape(char c, spdlog::memory_buf_t& out) {
    static constexpr std::string_view kHex = "0123456789abcdef";
    const auto byte = static_cast<unsigned char>(c);
    if (c == '"' || c == '\\') {
      out.push_back('\\');
      out.push_back(c);
    } else if (c == '\n') {
      append(out, "\\n");
    } else if (byte < 0x20 || byte == 0x7f) {
      append(out, "\\u00");
      out.push_back(kHex[byte >> 4U]);
      out.push_back(kHex[byte & 15U]);
    } else {
      out.push_back(c);
    }
  }
  spdlog::pattern_formatter time_{R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z)", spdlog::pattern_time_type::local, ""};
};

struct State {
  Lock lock;  // held for a pointer's copy only
  std::shared_ptr<spdlog::logger> logger;
  LogOptions options;
};

State& state() {
  static State* const instance = new State;  // loggers outlive everything that may still log at exit
  return *instance;
}

std::shared_ptr<spdlog::logger> current() noexcept {
  State& s = state();
  const LockGuard guard(s.lock);
  return s.logger;
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

void sink(LogLevel level, std::string_view message) noexcept {
  const auto logger = current();
  if (logger != nullptr) logger->log(to_spdlog(level), spdlog::string_view_t(message.data(), message.size()));
}

Result<std::shared_ptr<spdlog::logger>> make_logger(const LogOptions& options) {
  std::shared_ptr<spdlog::sinks::sink> target;
  if (options.output == "stderr") {
    target = std::make_shared<spdlog::sinks::stderr_sink_mt>();
  } else {
    // spdlog makes missing directories; a misspelt path is better refused.
    const int probe = ::open(options.output.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
    if (probe < 0) return fail(std::error_code(errno, std::system_category()));
    ::close(probe);
    try {
      target = std::make_shared<spdlog::sinks::basic_file_sink_mt>(options.output);
    } catch (const spdlog::spdlog_ex&) {
      return fail(std::error_code(errno != 0 ? errno : EIO, std::system_category()));
    }
  }
  auto logger = std::make_shared<spdlog::logger>("fiberd", std::move(target));
  if (options.format == LogFormat::json)
    logger->set_formatter(std::make_unique<JsonFormatter>());
  else
    logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  logger->set_level(to_spdlog(options.level));
  logger->flush_on(spdlog::level::debug);  // a line that is not in the file at a crash is worth nothing
  return logger;
}

}  // namespace

Result<void> open_log(const LogOptions& options) {
  auto logger = make_logger(options);
  if (!logger) return fail(logger.error());
  State& s = state();
  {
    const LockGuard guard(s.lock);
    s.logger.swap(*logger);
    s.options = options;
  }
  set_log_sink(&sink);
  return {};
}

void reopen_log() noexcept {
  State& s = state();
  LogOptions options;
  {
    const LockGuard guard(s.lock);
    options = s.options;
  }
  if (options.output == "stderr") return;
  if (const auto opened = open_log(options); !opened)
    log(LogLevel::error, "log.output " + options.output + " cannot be reopened: " + opened.error().message());
}

void close_log() noexcept {
  if (const auto logger = current()) logger->flush();
}

}  // namespace fiberd::daemon
