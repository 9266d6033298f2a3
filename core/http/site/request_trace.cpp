#include "core/http/site/request_trace.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <new>

#include "core/http/exchange.hpp"
#include "core/http/filters/request_id.hpp"
#include "core/http/filters/request_values.hpp"
#include "core/http/host.hpp"
#include "core/http/site/site.hpp"
#include "core/trace/request_record.hpp"
#include "core/trace/request_span.hpp"
#include "core/trace/traceparent.hpp"

namespace fiberd::http {

std::string_view find_traceparent(const HeaderView& headers) noexcept {
  static constexpr std::string_view kName = "traceparent";
  const std::size_t at = headers.index_of(kName);
  if (at == headers.size()) [[likely]]
    return {};
  if (headers.index_of(kName, at + 1) != headers.size()) return "two";
  const std::string_view value = headers[at].value;
  return value.empty() ? "empty" : value;
}

std::string tracestate_of(const HeaderView& headers) {
  static constexpr std::string_view kName = "tracestate";
  std::string state;
  std::size_t members = 0;
  for (std::size_t i = headers.index_of(kName); i != headers.size(); i = headers.index_of(kName, i + 1))
    if (!trace::append_tracestate(headers[i].value, state, members)) return {};
  trace::bound_tracestate(state);
  return state;
}

/// OpenTelemetry's semantic conventions for HTTP servers, 1.23 and later. The query is left out: secrets stand there.
static void describe(trace::RequestRecord& out, const Exchange& ex, const Route* route, const TraceEnd& end) {
  const Request& r = ex.request();
  std::array<char, INET6_ADDRSTRLEN> room;
  // What clients make up shall not be a method of its own.
  const bool known = r.method != Method::unknown;
  out.add("http.request.method", known ? r.method_text : "_OTHER");
  if (!known) out.add("http.request.method_original", r.method_text);
  out.add("url.scheme", scheme_of(ex));
  out.add("url.path", ex.path());
  if (route != nullptr) out.add("http.route", route->spec.path);
  out.add("http.response.status_code", end.status);
  if (const std::string_view p = ex.protocol(); p.starts_with("HTTP/"))
    out.add("network.protocol.version", p.substr(5));
  if (!r.host.empty()) out.add("server.address", host_without_port(r.host));
  if (const net::Endpoint peer = ex.peer(); peer.family() != AF_UNSPEC) out.add("client.address", peer.host(room));
  if (const std::string_view agent = r.headers.find("user-agent"); !agent.empty())
    out.add("user_agent.original", agent);
  if (end.received != 0) out.add("http.request.body.size", static_cast<std::int64_t>(end.received));
  if (end.sent != 0) out.add("http.response.body.size", static_cast<std::int64_t>(end.sent));
  if (const RequestId* const id = ex.find_slot<RequestId>(); id != nullptr && !id->text.empty())
    out.add("http.request.id", id->text);
  const std::string_view refused = end.refused != Reject::none ? token_of(end.refused) : ex.refusal();
  if (!refused.empty()) out.add("fiberd.refused", refused);
  if (end.status >= 500) {
    char digits[4];
    out.add(
        "error.type",
        std::string_view(digits, static_cast<std::size_t>(std::to_chars(digits, digits + 4, end.status).ptr - digits)));
  }
}

namespace {

/// A span's name, on the stack: three parts, of which the last one is cut.
class Name {
 public:
  Name(std::string_view first, std::string_view second, std::string_view third) noexcept {
    for (const std::string_view part : {first, second, third}) {
      const std::size_t size = std::min(part.size(), text_.size() - size_);
      std::copy_n(part.data(), size, text_.data() + size_);
      size_ += size;
    }
  }
  [[nodiscard]] std::string_view text() const noexcept { return {text_.data(), size_}; }

 private:
  std::array<char, trace::kMostName + 4> text_;  // it is cut there, between characters
  std::size_t size_ = 0;
};

}  // namespace

void end_request_trace(const Exchange& ex, trace::RequestSpan& span, const Route* route, const TraceEnd& end) noexcept {
  try {
    const Request& r = ex.request();
    const Name name(r.method != Method::unknown ? r.method_text : "HTTP", route != nullptr ? " " : "",
                    route != nullptr ? std::string_view(route->spec.path) : std::string_view());
    const std::string_view label = route == nullptr       ? std::string_view()
                                   : route->label.empty() ? route->spec.path
                                                          : route->label;
    const Name handler("handler", " ", label);
    trace::RequestRecord record;
    describe(record, ex, route, end);
    const std::string state = span.has_parent() ? tracestate_of(r.headers) : std::string();
    span.record({.name = name.text(),
                 .handler_name = handler.text(),
                 .status = end.status >= 500 ? trace::SpanStatus::error : trace::SpanStatus::unset,
                 .end = end.at,
                 .tracestate = state},
                record);
  } catch (const std::bad_alloc&) {
    span.lose();
  }
}

}  // namespace fiberd::http
