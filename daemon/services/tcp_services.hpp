#pragma once
// The built-in TCP services.
#include <chrono>

#include "core/net/tcp_stream.hpp"

namespace fiberd::daemon {

/// Sends back what comes, until the client ends. `idle_timeout` 0: none.
void serve_tcp_echo(net::TcpStream& stream, std::chrono::nanoseconds idle_timeout) noexcept;
/// Reads and forgets (RFC 863).
void serve_tcp_discard(net::TcpStream& stream, std::chrono::nanoseconds idle_timeout) noexcept;

}  // namespace fiberd::daemon
