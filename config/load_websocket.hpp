#pragma once
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// A route's section websocket.
[[nodiscard]] WebSocketAction read_websocket(const Reader& r);

}  // namespace fiberd::config
