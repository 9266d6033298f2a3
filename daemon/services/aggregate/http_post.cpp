#include "daemon/services/aggregate/http_post.hpp"

#include <charconv>
#include <vector>

namespace fiberd::daemon::aggregate {

Result<HostPort> parse_host_port(std::string_view text, std::uint16_t fallback) {
  HostPort out;
  out.port = fallback;
  std::size_t colon = text.rfind(':');
  if (text.starts_with('[')) {
    const std::size_t close = text.find(']');
    if (close == std::string_view::npos) return fail(std::errc::invalid_argument);
    out.host = text.substr(1, close - 1);
    colon = close + 1 < text.size() ? close + 1 : std::string_view::npos;
    if (colon != std::string_view::npos && text[colon] != ':') return fail(std::errc::invalid_argument);
  } else {
    out.host = text.substr(0, colon);
  }
  if (colon != std::string_view::npos) {
    const std::string_view port = text.substr(colon + 1);
    const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), out.port);
    if (error != std::errc() || end != port.data() + port.size()) return fail(std::errc::invalid_argument);
  }
  if (out.host.empty() || out.port == 0) return fail(std::errc::invalid_argument);
  return out;
}

Result<net::TcpStream> connect_to(const context::Context& ctx, const net::Resolver& resolver, const HostPort& where) {
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
