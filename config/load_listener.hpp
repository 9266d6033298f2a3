#pragma once
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// One item of listeners.
[[nodiscard]] ListenerConfig read_listener(const Reader& l, const PlacedTexts& trusted_proxies);

}  // namespace fiberd::config
