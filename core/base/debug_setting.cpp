#include "core/base/debug_setting.hpp"

#include <algorithm>
#include <cstdlib>

namespace fiberd {

std::optional<std::string_view> debug_setting(std::string_view name) noexcept {
  const char* const value = std::getenv("FIBERDEBUG");
  for (std::string_view rest = value != nullptr ? value : ""; !rest.empty();) {
    const std::size_t comma = std::min(rest.find(','), rest.size());
    const std::string_view setting = rest.substr(0, comma);
    rest.remove_prefix(std::min(comma + 1, rest.size()));
    if (setting == name) return std::string_view();
    if (setting.starts_with(name) && setting[name.size()] == '=') return setting.substr(name.size() + 1);
  }
  return std::nullopt;
}

}  // namespace fiberd
