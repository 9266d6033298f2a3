#pragma once
// reclaim: room for new connections when places, descriptors or memory run low.
#include <cstddef>
#include <span>

namespace fiberd::http {

class Server;

/// Closes about `wanted` connections of `servers`: those that have been idle longest between two requests, or since
/// they were accepted; only where there is none, those that have waited longest in the middle of a request's head. A
/// connection whose next request has arrived is served instead, so no request is lost. Each is counted
/// (ServerMetrics::reclaimed_*). Costs a look at every connection: ask for many at a time. Thread-safe; never parks.
/// Returns how many it closed, or told to close.
std::size_t reclaim(std::span<Server* const> servers, std::size_t wanted) noexcept;

}  // namespace fiberd::http
