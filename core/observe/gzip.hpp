#pragma once
// A whole text, compressed at once: profiles, and the page of metrics.
#include <string>
#include <string_view>

#include "core/base/result.hpp"

namespace fiberd::observe {

enum class Gzip : unsigned char {
  usual,  ///< as small as is usual
  fast    ///< for what is made anew each time somebody asks
};

/// Blocks for as long as it takes: not for a fiber. Errors: not_enough_memory, zlib's. Throws std::bad_alloc.
[[nodiscard]] Result<std::string> gzip(std::string_view text, Gzip how);

}  // namespace fiberd::observe
