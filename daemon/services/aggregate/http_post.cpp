#include "daemon/services/aggregate/http_post.hpp"

#include <charconv>
#include <span>
#include <vector>

#include "core/base/clock.hpp"

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

Result<HttpUrl> parse_http_url(std::string_view text) {
  static constexpr std::string_view kScheme = "http://";
  static constexpr std::uint16_t kPort = 80;
  if (!text.starts_with(kScheme)) return fail(std::errc::invalid_argument);
  text.remove_prefix(kScheme.size());
  const std::size_t slash = text.find('/');
  if (slash == std::string_view::npos) return fail(std::errc::invalid_argument);
  Result<HostPort> where = parse_host_port(text.substr(0, slash), kPort);
  if (!where) return fail(where.error());
  return HttpUrl{std::string(text.substr(0, slash)), std::string(text.substr(slash)), std::move(*where)};
}

/// The status of "HTTP/1.x NNN …"; 0: it is none.
static unsigned status_of(std::string_view line) noexcept {
  unsigned status = 0;
  if (!line.starts_with("HTTP/1.") || line.size() < 12 || line[8] != ' ') return 0;
  const auto [end, error] = std::from_chars(line.data() + 9, line.data() + 12, status);
  return error == std::errc() && end == line.data() + 12 && status >= 100 && status <= 599 ? status : 0;
}

Result<unsigned> http_post(const context::Context& ctx, const net::Resolver& resolver, const HttpUrl& url,
                           std::string_view content_type, std::string_view body) {
  static constexpr std::size_t kMostHead = 16 * 1024;
  Result<net::TcpStream> stream = connect_to(ctx, resolver, url.where);
  if (!stream) return fail(stream.error());
  std::string head = "POST " + url.target + " HTTP/1.1\r\nHost: " + url.authority + "\r\nContent-Type: ";
  head += content_type;
  head += "\r\nContent-Length: " + std::to_string(body.size()) + "\r\nUser-Agent: fiberd\r\nConnection: close\r\n\r\n";
  iovec parts[] = {{head.data(), head.size()}, {const_cast<char*>(body.data()), body.size()}};
  const Result<void> sent = stream->writev_all(parts, ctx.deadline(), ctx.cancellation());
  // A server that refuses may answer before it has read everything, and close.
  std::string answer;
  std::size_t at = 0;
  while (answer.size() < kMostHead) {
    const std::size_t before = answer.size();
    answer.resize(before + 1024);
    const Result<std::size_t> n =
        stream->read_some(std::as_writable_bytes(std::span(answer.data() + before, answer.size() - before)),
                          ctx.deadline(), ctx.cancellation());
    if (!n) return fail(sent ? n.error() : sent.error());
    answer.resize(before + *n);
    // Interim answers (1xx) go before the one that counts.
    for (std::size_t end = 0; (end = answer.find("\r\n\r\n", at)) != std::string::npos; at = end + 4) {
      const unsigned status = status_of(std::string_view(answer).substr(at));
      if (status == 0) return fail(std::errc::bad_message);
      if (status >= 200) return status;
    }
    if (*n == 0) break;
  }
  return fail(sent ? std::make_error_code(std::errc::bad_message) : sent.error());
}

}  // namespace fiberd::daemon::aggregate
