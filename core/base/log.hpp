#pragma once
// The core's log sink: one function pointer. The core knows no logging library; the daemon installs spdlog behind it.
//
// Each line is of a module: the room of the source that logs it. What is below the module's level is not even shown to
// the sink. Until somebody sets another that is info: lines of level debug tell of single requests.
#include <array>
#include <cstddef>
#include <string_view>

#include "core/base/source_location.hpp"

namespace fiberd {

enum class LogLevel : unsigned char { debug, info, warning, error };
inline constexpr std::array<std::string_view, 4> kLogLevels{"debug", "info", "warning", "error"};

/// The rooms of core/, `daemon` (config/ and admin pages, too), and `program` for all that is not ours.
enum class LogModule : unsigned char {
  base,
  metric,
  fiber,
  runtime,
  context,
  sync,
  flow,
  net,
  tls,
  http,
  observe,
  daemon,
  program
};
inline constexpr std::array<std::string_view, 13> kLogModules{"base",    "metric", "fiber",  "runtime", "context",
                                                              "sync",    "flow",   "net",    "tls",     "http",
                                                              "observe", "daemon", "program"};

/// Called from any thread, also from a fiber; must not park. `message` is one line without its newline.
using LogSink = void (*)(LogLevel level, std::string_view message) noexcept;

/// Installs the sink; nullptr restores the default, which writes to stderr in one write(2).
void set_log_sink(LogSink sink) noexcept;

/// `place`: of the caller; its file says the module. Who logs for others passes theirs on. Any thread; never parks.
void log(LogLevel level, std::string_view message, SourceLocation place = SourceLocation::current()) noexcept;

/// The least level of a module's lines that pass. Any thread.
void set_log_level(LogModule module, LogLevel least) noexcept;
[[nodiscard]] LogLevel log_level(LogModule module) noexcept;
/// Whether a line would pass: for whoever would have to make it first. One load.
[[nodiscard]] inline bool logs(LogModule module, LogLevel level) noexcept { return level >= log_level(module); }

/// Of a source's path as the compiler has it: "core/http/h1/parser.cpp", "/usr/include/fiberd/core/http/query.hpp".
[[nodiscard]] LogModule log_module_of(std::string_view file) noexcept;

}  // namespace fiberd
