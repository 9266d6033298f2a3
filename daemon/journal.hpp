#pragma once
// systemd's journal, spoken to in its own protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL): a datagram of fields for each
// entry. So the journal knows how bad a line is, where it comes from and which listener it is about, and gives it its
// own time. Why not libsystemd: docs/adr/0018-own-sd-notify.md.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>

#include "core/base/log.hpp"

namespace fiberd::daemon {

inline constexpr std::string_view kJournalSocket = "/run/systemd/journal/socket";
/// Of one entry's message; what is longer is cut.
inline constexpr std::size_t kMostJournalMessage = std::size_t{128} * 1024;

/// Whether a descriptor is the stream to the journal that systemd gave this process (JOURNAL_STREAM names it by device
/// and inode: a shell may have redirected it since).
[[nodiscard]] bool is_journal_stream(int fd) noexcept;

/// Where in the source an entry comes from.
struct JournalPlace {
  std::string_view file{};  ///< empty: nobody knows where
  unsigned line = 0;        ///< 0: not known
  std::string_view function{};
};

/// An entry as one line, for a queue of lines: what it says of itself between separators, line ends in the message
/// replaced by one.
[[nodiscard]] std::string journal_line(LogLevel level, const JournalPlace& place, std::string_view message);

/// The datagram of a journal_line() (without its line end): PRIORITY, MESSAGE, SYSLOG_IDENTIFIER, FIBERD_MODULE, and
/// where they are known CODE_FILE, CODE_LINE, CODE_FUNC, and FIBERD_LISTENER for messages that begin with
/// "listener NAME".
[[nodiscard]] std::string journal_datagram(std::string_view line);
/// What is written to standard error in its place: "<3>message", as sd-daemon(3) has it, at the beginning of each line.
[[nodiscard]] std::string prefixed_lines(std::string_view line);

/// Sends a datagram to `socket`, which is connected; one that is too large for that as a sealed memory file. Errors:
/// sendmsg's and memfd_create's. Does not wait.
[[nodiscard]] std::error_code send_to_journal(int socket, std::string_view datagram) noexcept;
/// Waits until the journal has read what was sent, for a quarter of a second at most. It looks up whose entry it reads,
/// so of a process that has ended meanwhile it does not know the unit any more.
void await_journal(int socket) noexcept;
/// A socket that is connected to the journal at `path`, or -errno.
[[nodiscard]] int connect_to_journal(std::string_view path) noexcept;

/// What an operator's line begins with when standard error is the journal's: its priority; else nothing. For what is
/// written before there is a log.
[[nodiscard]] std::string_view error_prefix() noexcept;

}  // namespace fiberd::daemon
