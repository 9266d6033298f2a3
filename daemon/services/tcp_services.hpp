#pragma once
// The built-in TCP services.
#include <chrono>

#include "core/flow/pressure.hpp"
#include "core/net/tcp_stream.hpp"

namespace fiberd::daemon {

/// Sends back what comes, until the client ends. `idle_timeout` 0: none. While `pressure`, if it is not null, leaves no
/// room, it makes do with a small buffer.
void serve_tcp_echo(net::TcpStream& stream, std::chrono::nanoseconds idle_timeout, flow::Pressure* pressure) noexcept;
/// Reads and forgets (RFC 863).
void serve_tcp_discard(net::TcpStream& stream, std::chrono::nanoseconds idle_timeout,
                       flow::Pressure* pressure) noexcept;

}  // namespace fiberd::daemon
