#pragma once
// For who sees the end of the process coming that is no ordinary one: what was logged and still waits is written first.

namespace fiberd {

/// What writes out the lines that a sink still holds; must be async-signal-safe and wait for a fraction of a second at
/// most. nullptr, the default: there are none.
using LogFlush = void (*)() noexcept;
void set_log_flush(LogFlush flush) noexcept;

/// Before the process dies. Async-signal-safe.
void flush_log() noexcept;

}  // namespace fiberd
