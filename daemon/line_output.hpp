#pragma once
// What a LineWriter writes to, opened by its name in the configuration.
#include <string>
#include <string_view>

#include "core/base/result.hpp"

namespace fiberd::daemon {

/// What a name in the configuration stands for: the words stdout and stderr (also as /dev/stdout and /dev/stderr),
/// journal, which takes lines as journal_line() makes them, or a path.
enum class OutputKind : unsigned char { standard_output, standard_error, journal, path };
[[nodiscard]] OutputKind output_kind(std::string_view name) noexcept;

struct Opened {
  enum class Journal : unsigned char { no, socket, on_stderr };
  int fd = -1;
  bool may_wait = false;  ///< not a regular file
  Journal journal = Journal::no;
};

/// Never waits, also not for a FIFO's reader. `why` says more than the error.
[[nodiscard]] Result<Opened> open_output(const std::string& name, std::string& why);
/// Without the journal's socket (a container, an early start) its entries become lines of standard error with their
/// priority.
[[nodiscard]] Opened open_journal() noexcept;

}  // namespace fiberd::daemon
