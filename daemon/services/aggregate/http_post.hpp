#pragma once
// What upstreams need of the network: hosts as configurations write them, and one POST, of whose answer the status
// counts.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/http/client/client.hpp"
#include "core/net/resolver.hpp"
#include "core/net/tcp_stream.hpp"

namespace fiberd::daemon::aggregate {

/// A host as configurations write it: a name, or a numeric address, IPv6 in brackets.
struct Destination {
  std::string host;  ///< without brackets
  std::uint16_t port = 0;
};
/// "host:port", "[::1]:port". Error: invalid_argument.
[[nodiscard]] Result<Destination> parse_destination(std::string_view text);

/// Connects to the first address of `where` that answers. On a fiber. Errors: the resolver's, TcpStream::connect's.
[[nodiscard]] Result<net::TcpStream> connect_to(const context::Context& ctx, const net::Resolver& resolver,
                                                const Destination& where);

/// The status that `url` answered `body` with, 200 … 599. The body is a state: where a kept connection ends under it,
/// it is sent once more. On a fiber; obeys `ctx`. Errors: http::Client::send's.
[[nodiscard]] Result<unsigned> http_post(const context::Context& ctx, http::Client& client, std::string_view url,
                                         std::string_view content_type, std::string_view body);

}  // namespace fiberd::daemon::aggregate
