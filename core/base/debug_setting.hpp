#pragma once
// FIBERDEBUG: settings for people who look into a process, as Go's GODEBUG: "schedtrace=1000,guard=mprotect".
#include <optional>
#include <string_view>

namespace fiberd {

/// What stands in the environment's FIBERDEBUG behind `name=`, up to the next comma; "" where the name stands alone;
/// nullopt: it does not stand there. The view holds until the environment is changed.
[[nodiscard]] std::optional<std::string_view> debug_setting(std::string_view name) noexcept;

}  // namespace fiberd
