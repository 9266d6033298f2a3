#pragma once
// A sink of the log that is also told where in the source a line comes from: for logs that have a field for it.
#include <string_view>

#include "core/base/log.hpp"

namespace fiberd {

/// As LogSink; the texts of `place` are as the compiler has them, and live for ever.
using PlacedLogSink = void (*)(LogLevel level, std::string_view message, const SourceLocation& place) noexcept;

/// Installs it in place of set_log_sink's, until that is called. Any thread.
void set_placed_log_sink(PlacedLogSink sink) noexcept;

}  // namespace fiberd
