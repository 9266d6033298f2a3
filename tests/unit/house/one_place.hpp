#pragma once
// What stands once in the house, and where: text that every room reads and writes, and what several servers need. Two
// copies of such a thing drift apart, and the second is found when a client has found the difference.
//
// A second copy cannot be recognised for sure. These rules know how one looks: by what every such code has to hold (the
// digits of base 16, the constants of a hash, the beginning of an escape) or how it is called. Comments do not count.
#include <string>
#include <string_view>
#include <vector>

#include "tests/unit/house/source_rules.hpp"

namespace fiberd::house {

struct Mechanism {
  std::string_view what;
  std::vector<std::string_view> places;  ///< path without extension, or with
  std::vector<std::string_view> signs;   ///< of a source that has one of its own, as written in code or in a literal
};

[[nodiscard]] const std::vector<Mechanism>& mechanisms();

/// Every sign of a mechanism in a source that is not its place. `path` is root-relative.
[[nodiscard]] std::vector<Violation> check_one_place(std::string_view path, std::string_view source);

}  // namespace fiberd::house
