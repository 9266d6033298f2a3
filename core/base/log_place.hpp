#pragma once
// A sink of the log that is also told where in the source a line comes from: for logs that have a field for it.
#include <string_view>

#include "core/base/log.hpp"

namespace fiberd {

/// As LogSink; `file` is a path as the compiler has it, and lives for ever.
using PlacedLogSink = void (*)(LogLevel level, std::string_view message, const char* file) noexcept;

/// Installs it in place of set_log_sink's, until that is called. Any thread.
void set_placed_log_sink(PlacedLogSink sink) noexcept;

}  // namespace fiberd
