#pragma once
// The daemon's own log, by spdlog: text or JSON lines, to a standard stream or a file. Also the sink of the core.
#include <array>
#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "core/base/log.hpp"
#include "core/base/result.hpp"

namespace fiberd::daemon {

enum class LogFormat : unsigned char { text, json };

struct LogOptions {
  LogLevel level = LogLevel::info;
  std::vector<std::pair<LogModule, LogLevel>> modules{};  ///< those with a level of their own
  LogFormat format = LogFormat::text;
  std::string output = "auto";  ///< or stderr, stdout, journal, or a path
};

[[nodiscard]] LogOptions options_of(const config::LogConfig& config);
/// The least level of each module (core/base/log.hpp).
[[nodiscard]] std::array<LogLevel, kLogModules.size()> levels_of(const LogOptions& options) noexcept;

/// Installs the log for the process: from then on log() never waits. Error: what opening the output said, or starting
/// its thread; `why` says more. Call again to change it; thread-safe.
[[nodiscard]] Result<void> open_log(const LogOptions& options, std::string& why);
/// Asks for the file to be opened anew (after logrotate moved it), before the next line is written; never waits. Errors
/// are logged to the old one, which stays in use.
void reopen_log() noexcept;
/// Lines of the log that were dropped: nobody read them in time, or they could not be written.
[[nodiscard]] std::uint64_t log_lines_dropped() noexcept;
/// Whether who looks at standard error sees the log.
[[nodiscard]] bool log_is_on_terminal() noexcept;
/// A line to standard error, whatever log there is; not when nobody reads it.
void say_on_stderr(std::string_view line) noexcept;
/// Writes out what waits, at exit: as long as something is written every `patience`, and until `deadline` (monotonic
/// ns). What is logged afterwards goes to standard error.
void close_log(std::chrono::milliseconds patience, std::int64_t deadline) noexcept;

}  // namespace fiberd::daemon
