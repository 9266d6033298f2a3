#pragma once
// The section `tracing`.
#include "config/reader.hpp"
#include "config/tracing.hpp"

namespace fiberd::config {

[[nodiscard]] TracingConfig read_tracing(const Reader& tracing);

}  // namespace fiberd::config
