#pragma once
// The daemon's own log, by spdlog: text or JSON lines, to stderr or a file. Also the sink of the core.
#include <string>

#include "core/base/log.hpp"
#include "core/base/result.hpp"

namespace fiberd::daemon {

enum class LogFormat : unsigned char { text, json };

struct LogOptions {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
  std::string output = "stderr";  ///< or a path
};

/// Installs the log for the process. Error: what opening the file said. Call again to change it; thread-safe.
[[nodiscard]] Result<void> open_log(const LogOptions& options);
/// Opens the file anew (after logrotate moved it). Errors are logged to the old one, which stays in use.
void reopen_log() noexcept;
/// Writes out what is buffered; at exit.
void close_log() noexcept;

}  // namespace fiberd::daemon
