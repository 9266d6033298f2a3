#pragma once
// `include`: the listeners of other files.
#include <string>
#include <vector>

#include "config/tree.hpp"

namespace fiberd::config {

/// Most files that one configuration may include, and how deep they may include each other.
inline constexpr std::size_t kMaxIncluded = 1000;
inline constexpr std::size_t kMaxIncludeDepth = 8;

/// Appends the listeners of the files that `tree` includes to its own, each node with the name of its file. Patterns
/// are relative to the directory of the file that they stand in, and what they name is taken in the order of bytes; one
/// without * ? [ must name a file. Refused: files that are included twice, or by themselves; keys but listeners and
/// include. The names of all files that were read, the first one tree's own.
[[nodiscard]] std::vector<std::string> include_files(Tree& tree, std::vector<Diagnostic>& diagnostics);

}  // namespace fiberd::config
