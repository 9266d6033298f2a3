#pragma once
#include "config/tree.hpp"

namespace fiberd::config {

/// A text where the schema has a section with a shorthand (`websocket: echo`) becomes that section with the one key
/// ({handler: echo}), in the text's place.
void spell_out(Tree& tree);

}  // namespace fiberd::config
