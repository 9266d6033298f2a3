#pragma once
#include <string_view>

namespace fiberd::daemon {
#if defined(FIBERD_VERSION)
inline constexpr std::string_view kVersion = FIBERD_VERSION;
#else
inline constexpr std::string_view kVersion = "dev";
#endif
}  // namespace fiberd::daemon
