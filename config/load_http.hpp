#pragma once
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// A listener's section http; `nameless`: its clients have no addresses.
[[nodiscard]] HttpConfig read_http(const Reader& http, bool nameless);
/// The key `handler` of a route or of tcp.
[[nodiscard]] HandlerAction read_handler(const Reader& r);

}  // namespace fiberd::config
