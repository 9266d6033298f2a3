#pragma once
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// A route's section files.
[[nodiscard]] FilesAction read_files(const Reader& r);

}  // namespace fiberd::config
