#pragma once
// roff: text as the source of a manual page has it.
#include <string>
#include <string_view>

namespace fiberd::config {

/// `text` as it is, in the middle of a line or as one of its own: a backslash, a dash and a dot at the beginning mean
/// nothing to who formats it.
[[nodiscard]] std::string roff(std::string_view text);

/// The page's first line. `title`: FIBERD; the date is SOURCE_DATE_EPOCH's where that is set, so that two builds of one
/// source make one page, else today.
[[nodiscard]] std::string roff_title(std::string_view title, int section, std::string_view version);

}  // namespace fiberd::config
