#pragma once
#include "config/acme.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// listeners[].tls.acme
[[nodiscard]] AcmeConfig read_acme(const Reader& acme);

}  // namespace fiberd::config
