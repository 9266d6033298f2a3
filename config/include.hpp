#pragma once
// `include`: the listeners of other files.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/tree.hpp"

namespace fiberd::config {

/// Most files that one configuration may include, and how deep they may include each other.
inline constexpr std::size_t kMaxIncluded = 1000;
inline constexpr std::size_t kMaxIncludeDepth = 8;

/// Appends the listeners of the files that `tree` includes to its own, each node with the name of its file. Patterns
/// are relative to the directory of the file that they stand in, and what they name is taken in the order of bytes; one
/// without * ? [ must name a file. Refused: files that are included twice, or by themselves; keys but listeners and
/// include. `read` gets the names of all files that were read, the first one tree's own, the patterns, and the digest
/// of what was in them, on top of the one that it has.
void include_files(Tree& tree, std::vector<Diagnostic>& diagnostics, Config& read);

/// Takes what was read, or why nothing was, into the digest.
void add_to_digest(std::uint64_t& digest, std::string_view name, std::string_view text) noexcept;

}  // namespace fiberd::config
