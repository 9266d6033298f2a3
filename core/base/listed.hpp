#pragma once
// listed: names for people.
#include <string>
#include <string_view>

namespace fiberd {

/// "debug, info, warning".
template <class Names>
[[nodiscard]] std::string listed(const Names& names) {
  std::string all;
  for (const std::string_view name : names) all += (all.empty() ? "" : ", ") + std::string(name);
  return all;
}

}  // namespace fiberd
