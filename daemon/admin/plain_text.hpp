#pragma once
// The media type of the admin's pages for people.
#include <string_view>

namespace fiberd::daemon {

inline constexpr std::string_view kPlainText = "text/plain; charset=utf-8";

}  // namespace fiberd::daemon
