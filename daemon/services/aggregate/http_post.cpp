#include "daemon/services/aggregate/http_post.hpp"

#include <vector>

#include "core/base/host_port.hpp"

namespace fiberd::daemon::aggregate {

Result<Destination> parse_destination(std::string_view text) {
  HostPort parts;
  if (split_host_port(text, parts) != HostPortError::none || parts.host.empty())
    return fail(std::errc::invalid_argument);
  const std::uint16_t port = parse_port(parts.port).value_or(0);
  if (port == 0) return fail(std::errc::invalid_argument);
  return Destination{std::string(parts.host), port};
}

Result<net::TcpStream> connect_to(const context::Context& ctx, const net::Resolver& resolver,
                                  const Destination& where) {
  if (const std::error_code error = ctx.err()) return fail(error);
  const Result<std::vector<net::Endpoint>> addresses =
      resolver.resolve(where.host, where.port, ctx.deadline(), ctx.cancellation());
  if (!addresses) return fail(addresses.error());
  Result<net::TcpStream> stream = fail(std::errc::host_unreachable);
  for (const net::Endpoint& address : *addresses) {
    stream = net::TcpStream::connect(address, ctx.deadline(), ctx.cancellation());
    if (stream || ctx.done()) break;
  }
  return stream;
}

Result<unsigned> http_post(const context::Context& ctx, http::Client& client, std::string_view url,
                           std::string_view content_type, std::string_view body) {
  const http::Field field{"Content-Type", content_type};
  const Result<http::ClientResponse> answer = client.send(
      ctx, {.method = http::Method::post, .url = url, .fields = {&field, 1}, .body = body, .idempotent = true});
  if (!answer) return fail(answer.error());
  return answer->status();
}

}  // namespace fiberd::daemon::aggregate
