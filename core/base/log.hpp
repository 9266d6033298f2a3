#pragma once
// The core's log sink: one function pointer. The core knows no logging library; the daemon installs spdlog behind it.
#include <string_view>

namespace fiberd {

enum class LogLevel : unsigned char { debug, info, warning, error };

/// Called from any thread, also from a fiber; must not park. `message` is one line without its newline.
using LogSink = void (*)(LogLevel level, std::string_view message) noexcept;

/// Installs the sink; nullptr restores the default, which writes to stderr in one write(2).
void set_log_sink(LogSink sink) noexcept;

void log(LogLevel level, std::string_view message) noexcept;

}  // namespace fiberd
