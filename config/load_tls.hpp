#pragma once
#include "config/reader.hpp"
#include "config/tls.hpp"

namespace fiberd::config {

/// listeners[].tls
[[nodiscard]] TlsConfig read_tls(const Reader& tls);

}  // namespace fiberd::config
