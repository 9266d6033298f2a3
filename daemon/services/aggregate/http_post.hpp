#pragma once
// One HTTP/1.1 POST, as it is needed to push metrics: a connection for it alone, and of the answer the status.
#include <string>
#include <string_view>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/net/resolver.hpp"
#include "core/net/tcp_stream.hpp"

namespace fiberd::daemon::aggregate {

/// A host as configurations write it: a name, or a numeric address, IPv6 in brackets.
struct HostPort {
  std::string host;  ///< without brackets
  std::uint16_t port = 0;
};
/// "host:port", "[::1]:port"; without port `fallback`. Error: invalid_argument.
[[nodiscard]] Result<HostPort> parse_host_port(std::string_view text, std::uint16_t fallback = 0);

/// Connects to the first address of `where` that answers. On a fiber. Errors: the resolver's, TcpStream::connect's.
[[nodiscard]] Result<net::TcpStream> connect_to(const context::Context& ctx, const net::Resolver& resolver,
                                                const HostPort& where);

struct HttpUrl {
  std::string authority;  ///< for the Host field
  std::string target;     ///< path and query
  HostPort where;
};
/// "http://host[:port]/path". Error: invalid_argument.
[[nodiscard]] Result<HttpUrl> parse_http_url(std::string_view text);

/// The status that `url` answered `body` with, 200 … 599. On a fiber; obeys `ctx`. Errors: those of connect_to and of
/// the connection; bad_message for an answer that is not HTTP/1.
[[nodiscard]] Result<unsigned> http_post(const context::Context& ctx, const net::Resolver& resolver, const HttpUrl& url,
                                         std::string_view content_type, std::string_view body);

}  // namespace fiberd::daemon::aggregate
