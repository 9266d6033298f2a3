#include "core/http/client/connect.hpp"

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "core/context/errc.hpp"
#include "core/context/waits.hpp"
#include "core/http/client/errc.hpp"
#include "core/tls/errc.hpp"
#include "core/tls/stream.hpp"

namespace fiberd::http {

tl::expected<net::TcpStream, ConnectFailure> connect_client(const context::Context& ctx, const net::Resolver& resolver,
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
    Result<net::TcpStream> stream = net::TcpStream::connect(ctx, addresses[i], share);
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

static client_errc why_unproved(tls::CertificateFault fault) noexcept {
  switch (fault) {
    case tls::CertificateFault::expired: return client_errc::certificate_expired;
    case tls::CertificateFault::not_yet_valid: return client_errc::certificate_not_yet_valid;
    case tls::CertificateFault::unknown_issuer: return client_errc::unknown_issuer;
    case tls::CertificateFault::name_mismatch: return client_errc::name_mismatch;
    case tls::CertificateFault::none:
    case tls::CertificateFault::other: break;
  }
  return client_errc::certificate_refused;
}

static std::error_code why_insecure(tls::Stream& stream, const std::error_code& error) noexcept {
  if (is_own_timeout(error)) return client_errc::connect_timeout;
  if (error.category() != tls::category()) return error;
  switch (static_cast<tls::errc>(error.value())) {
    case tls::errc::certificate:
    case tls::errc::no_certificate: return why_unproved(tls::certificate_fault(*stream.session()));
    case tls::errc::plain_http:
    case tls::errc::not_tls: return client_errc::not_tls;
    case tls::errc::version:
    case tls::errc::cipher:
    case tls::errc::protocol:
    case tls::errc::server_name:
    case tls::errc::alert: return client_errc::tls_refused;
    default: return client_errc::tls_failed;
  }
}

tl::expected<std::unique_ptr<ClientStream>, ConnectFailure> secure_client(
    const context::Context& ctx, net::TcpStream stream, const tls::ClientContext& with, std::string_view host,
    const ClientMetrics& metrics, Deadline until) {
  const auto failed = [](const std::error_code& error) {
    return tl::unexpected(ConnectFailure{error, ClientFailure::tls});
  };
  tls::SslHandle session = with.new_session(std::string(host));
  if (session == nullptr) return failed(std::make_error_code(std::errc::not_enough_memory));
  Result<std::unique_ptr<tls::Stream>> secure = tls::Stream::make(std::move(stream), std::move(session));
  if (!secure) return failed(secure.error());
  const Result<void> done = (*secure)->handshake(until.earlier(ctx.deadline()), ctx.wait_point());
  if (!done) {
    const std::error_code error = context::to_error(done.error(), ctx, until);
    return failed(error.category() == context::category() ? error : why_insecure(**secure, error));
  }
  metric::count(metrics.handshakes);
  if (const net::TlsPeer* const peer = (*secure)->tls_peer(); peer != nullptr && peer->resumed)
    metric::count(metrics.resumed);
  return std::move(*secure);
}

}  // namespace fiberd::http
