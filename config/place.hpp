#pragma once
// Place: where a value was written, for what only a program, or a machine, can find wrong with it.
#include <string>
#include <vector>

namespace fiberd::config {

struct Place {
  std::string source{};  ///< file name, "--set", or "built-in"
  unsigned line = 0;     ///< from 1; 0: no place
  unsigned column = 0;
  std::string key{};  ///< listeners[0].http.routes[2].files.root
  /// What is compared are values: where they were written makes no difference.
  constexpr bool operator==(const Place&) const noexcept { return true; }
};

/// Texts with the place of each.
struct PlacedTexts {
  std::vector<std::string> texts{};
  std::vector<Place> at{};  ///< as many as texts
  bool operator==(const PlacedTexts&) const = default;
};

}  // namespace fiberd::config
