#pragma once
// What of a request its trace is told: the caller's fields, and, at the end, what it was. Inside of core/http alone.
#include <cstdint>
#include <string>
#include <string_view>

#include "core/http/message.hpp"
#include "core/http/reject.hpp"

namespace fiberd::trace {
class RequestSpan;
}

namespace fiberd::http {

class Exchange;
struct Route;

/// The field traceparent; empty without one. Of two nobody knows whose is right: then it is text that is none.
[[nodiscard]] std::string_view find_traceparent(const HeaderView& headers) noexcept;
[[nodiscard]] inline std::string_view traceparent_of(const Request& request) noexcept {
  return request.may_have_traceparent ? find_traceparent(request.headers) : std::string_view();
}
/// All tracestate fields as one that may be passed on; empty when any is wrong. Throws std::bad_alloc.
[[nodiscard]] std::string tracestate_of(const HeaderView& headers);

struct TraceEnd {
  unsigned status;
  std::int64_t at;         ///< monotonic ns
  std::uint64_t received;  ///< bytes of the request's body
  std::uint64_t sent;      ///< bytes of the answer's
  Reject refused;
};
/// Of one that is kept (RequestSpan::settle).
void end_request_trace(const Exchange& exchange, trace::RequestSpan& span, const Route* route,
                       const TraceEnd& end) noexcept;

}  // namespace fiberd::http
