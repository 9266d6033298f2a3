#pragma once
#include <string_view>

namespace fiberd::daemon {
#if defined(FIBERD_VERSION)
inline constexpr std::string_view kVersion = FIBERD_VERSION;
#else
inline constexpr std::string_view kVersion = "dev";
#endif
/// The commit it was built from, with "+changes" when the tree had some; "unknown" without git.
extern const std::string_view kCommit;
}  // namespace fiberd::daemon
