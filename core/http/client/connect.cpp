#include "core/http/client/connect.hpp"

#include <span>
#include <vector>

#include "core/context/errc.hpp"
#include "core/http/client/errc.hpp"

namespace fiberd::http {

tl::expected<ClientStream, ConnectFailure> connect_client(const context::Context& ctx, const net::Resolver& resolver,
                                                          std::string_view host, std::uint16_t port,
                                                          const std::optional<net::Endpoint>& endpoint,
                                                          Deadline until) {
  std::vector<net::Endpoint> resolved;
  std::span<const net::Endpoint> addresses;
  if (endpoint) {
    addresses = {&*endpoint, 1};
  } else {
    Result<std::vector<net::Endpoint>> found = resolver.resolve(ctx, host, port, net::AddressFamily::any, until);
    if (!found) return tl::unexpected(ConnectFailure{found.error(), ClientFailure::resolve});
    resolved = std::move(*found);
    addresses = resolved;
  }
  std::error_code first = std::make_error_code(std::errc::host_unreachable);
  for (std::size_t i = 0; i < addresses.size(); ++i) {
    const std::int64_t now = monotonic_now();
    const auto left = static_cast<std::int64_t>(addresses.size() - i);
    const Deadline share =
        until.is_never() || left == 1 ? until : Deadline::at(now + (until.ns() - now) / left).earlier(until);
    Result<ClientStream> stream = ClientStream::connect(ctx, addresses[i], share);
    if (stream) {
      // Heads and pieces of a body leave when they are there; without this the last one would wait for an
      // acknowledgement that the server holds back for it.
      if (addresses[i].family() != AF_UNIX) (void)stream->set_no_delay(true);
      stream->set_single_owner();
      return std::move(*stream);
    }
    std::error_code error = stream.error();
    if (error.category() == context::category()) return tl::unexpected(ConnectFailure{error});
    if (is_own_timeout(error)) error = client_errc::connect_timeout;
    if (i == 0) first = error;
  }
  return tl::unexpected(ConnectFailure{first});
}

}  // namespace fiberd::http
