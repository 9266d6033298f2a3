#pragma once
// write_guarded: for the last words of a process, which must be said where somebody may read them and must not wait for
// whoever does not.
#include <cstddef>
#include <string_view>

namespace fiberd {

/// Writes to a descriptor that may be a pipe whose reader is stuck: each piece (of PIPE_BUF bytes at most, so that a
/// pipe takes it whole) goes when poll(2) says that there is room, which is waited for up to `patience_ms`. The
/// descriptor's flags are left alone: they are shared with whoever gave it to us. Returns how many bytes were written.
/// Async-signal-safe; errno stays.
std::size_t write_guarded(int fd, std::string_view data, int patience_ms) noexcept;

}  // namespace fiberd
