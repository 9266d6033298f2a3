#pragma once
// Text from a client on its way into the log: it must neither end a line nor move a terminal's cursor.
#include <cstddef>
#include <string>
#include <string_view>

namespace fiberd {

/// `text` with every byte but printable ASCII as \xNN, and the backslash too, so that nothing looks escaped that is
/// not. At most `most` bytes of it; what was left out is told by "…" at its end.
[[nodiscard]] std::string printable(std::string_view text, std::size_t most);
/// The same between quotation marks, those inside escaped by a backslash.
[[nodiscard]] std::string quoted(std::string_view text, std::size_t most);
/// `text` in one line: control characters of ASCII as \xNN, and nothing else. For what an operator wrote.
[[nodiscard]] std::string in_one_line(std::string_view text);
/// Each line of it as in_one_line() has it, and its end: for a terminal whose cursor nothing of it moves.
[[nodiscard]] std::string in_lines(std::string_view text);

}  // namespace fiberd
