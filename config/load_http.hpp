#pragma once
#include "config/config.hpp"
#include "config/reader.hpp"

namespace fiberd::config {

/// A listener's section http; `nameless`: its clients have no addresses; `trusts_unix`: who comes over a Unix socket is
/// a trusted proxy.
[[nodiscard]] HttpConfig read_http(const Reader& http, bool nameless, bool trusts_unix);
/// The key `handler` of a route or of tcp.
[[nodiscard]] HandlerAction read_handler(const Reader& r);

}  // namespace fiberd::config
