#pragma once
// The characters of core/base by their short names: the grammar of HTTP is made of them.
#include "core/base/characters.hpp"

namespace fiberd::http {

using namespace ascii;  // NOLINT(google-build-using-namespace): of the project's own, and for this room

}  // namespace fiberd::http
