#pragma once
// Text in columns of a terminal. What a daemon tells has names of configurations and clients in it: nothing of these
// reaches the terminal that could move its cursor, turn its writing around, or take another width than it seems to.
#include <cstddef>
#include <string>
#include <string_view>

namespace fiberd::daemon::top {

/// `text` in exactly `columns` columns: what is too long ends in "…", what is short is filled with blanks (on the left
/// when `to_right`). Widths are those of the C library's table for UTF-8; control characters, formatting ones, what is
/// no UTF-8, and, in a locale whose encoding is another, all but ASCII become "?".
[[nodiscard]] std::string fit(std::string_view text, std::size_t columns, bool to_right = false);

/// Columns that `text` takes after fit() has made it harmless.
[[nodiscard]] std::size_t display_width(std::string_view text);

/// For people: "12.3k", "1.5 MiB", "350 µs", "5 min".
[[nodiscard]] std::string short_count(double n);
[[nodiscard]] std::string short_bytes(double n);
[[nodiscard]] std::string short_seconds(double s);

/// "|||||     " of `columns` columns, so much of it filled as `share` says (0 … 1).
[[nodiscard]] std::string bar(double share, std::size_t columns);

}  // namespace fiberd::daemon::top
