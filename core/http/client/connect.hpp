#pragma once
// Making a connection: the look-up of a name, and its addresses one after the other.
#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/http/client/client_metrics.hpp"
#include "core/http/client/pool.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/resolver.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/tls/client_context.hpp"

namespace fiberd::http {

struct ConnectFailure {
  std::error_code error;
  ClientFailure what = ClientFailure::connect;
};

/// To `endpoint`, or else to the first address of `host` that takes it, best first. `until` holds for all of it; of
/// what is left each address gets its share, so that one that swallows everything does not take the others' time. On a
/// fiber. Errors: context::errc, client_errc::connect_timeout, the resolver's, and else what the first address said.
/// Throws std::bad_alloc.
[[nodiscard]] tl::expected<net::TcpStream, ConnectFailure> connect_client(const context::Context& ctx,
                                                                          const net::Resolver& resolver,
                                                                          std::string_view host, std::uint16_t port,
                                                                          const std::optional<net::Endpoint>& endpoint,
                                                                          Deadline until);

/// The same connection under TLS, once its server has proved to be `host`. Errors: context::errc, client_errc.
[[nodiscard]] tl::expected<std::unique_ptr<ClientStream>, ConnectFailure> secure_client(
    const context::Context& ctx, net::TcpStream stream, const tls::ClientContext& with, std::string_view host,
    const ClientMetrics& metrics, Deadline until);

}  // namespace fiberd::http
