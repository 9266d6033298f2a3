#pragma once
// --set: one key of the tree is replaced.
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/tree.hpp"

namespace fiberd::config {

/// Applies one "key=value", where key is a path like listeners[0].address. What is wrong with it is added to
/// `diagnostics`, and the tree stays as it is but for empty parents of the key.
void apply_override(Tree& root, const std::string& text, std::vector<Diagnostic>& diagnostics);

}  // namespace fiberd::config
