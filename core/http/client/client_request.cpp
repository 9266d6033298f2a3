#include "core/http/client/client_request.hpp"

#include <array>
#include <charconv>

#include "core/http/client/errc.hpp"
#include "core/http/client/url.hpp"
#include "core/http/h1/head_guard.hpp"
#include "core/http/host.hpp"

namespace fiberd::http {
namespace {

/// What the client alone says: it frames the message, or concerns this connection only (RFC 9110 section 7.6.1).
bool is_reserved(std::string_view name) noexcept {
  switch (name.size()) {
    case 2: return equals_lower(name, "te");
    case 4: return equals_lower(name, "host");
    case 6: return equals_lower(name, "expect");
    case 7: return equals_lower(name, "trailer") || equals_lower(name, "upgrade");
    case 10: return equals_lower(name, "connection") || equals_lower(name, "keep-alive");
    case 14: return equals_lower(name, "content-length");
    case 16: return equals_lower(name, "proxy-connection");
    case 17: return equals_lower(name, "transfer-encoding");
    default: return false;
  }
}

/// Of the request that we are serving, or anybody's: not of this one.
bool is_of_trace(std::string_view name) noexcept {
  return equals_lower(name, "traceparent") || equals_lower(name, "tracestate");
}

}  // namespace

Result<void> write_request_head(std::string& out, const ClientRequest& request, const RequestFraming& framing,
                                std::string_view user_agent, const TraceFields& trace) {
  const Result<ClientUrl> url = parse_client_url(request.url);
  if (!url) return fail(url.error());
  const std::string_view method = request.method_text.empty() ? method_token(request.method) : request.method_text;
  const std::string_view host = request.host.empty() ? url->authority : request.host;
  if (!is_token(method) || method.size() > kMaxMethodSize || method == "CONNECT" || !is_valid_authority(host))
    return fail(client_errc::bad_request);

  out.clear();
  out.append(method).append(" ");
  if (!url->target.starts_with('/')) out.append("/");
  out.append(url->target).append(" HTTP/1.1\r\nHost: ").append(host);
  bool has_user_agent = user_agent.empty();
  for (const Field& field : request.fields) {
    if (!is_token(field.name) || !is_field_value(field.value) || is_reserved(field.name))
      return fail(client_errc::bad_request);
    if (!trace.parent.empty() && is_of_trace(field.name)) continue;
    out.append("\r\n").append(field.name).append(": ").append(field.value);
    has_user_agent = has_user_agent || equals_lower(field.name, "user-agent");
  }
  if (!trace.parent.empty()) out.append("\r\ntraceparent: ").append(trace.parent);
  if (!trace.state.empty()) out.append("\r\ntracestate: ").append(trace.state);
  if (!has_user_agent) out.append("\r\nUser-Agent: ").append(user_agent);
  if (framing.has_body && framing.length) {
    std::array<char, 20> digits;
    const auto r = std::to_chars(digits.data(), digits.data() + digits.size(), *framing.length);
    out.append("\r\nContent-Length: ").append(digits.data(), r.ptr);
  } else if (framing.has_body) {
    out.append("\r\nTransfer-Encoding: chunked");
  }
  if (request.expect_continue && framing.has_body) out.append("\r\nExpect: 100-continue");
  if (request.close) out.append("\r\nConnection: close");
  out.append("\r\n\r\n");
  return {};
}

}  // namespace fiberd::http
