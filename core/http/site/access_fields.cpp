#include "core/http/site/access_fields.hpp"

#include <endian.h>

#include <cstring>

#include "core/http/filters/basic_auth_filter.hpp"
#include "core/http/filters/request_id.hpp"

namespace fiberd::http {

void describe_request(AccessRecord& record, const Exchange& ex, const Route* route, Reject reason) noexcept {
  const Request& r = ex.request();
  record.method = r.method_text;
  record.target = r.target;
  record.user_agent = r.headers.find("user-agent");
  record.referer = r.headers.find("referer");
  record.host = r.host;
  record.route = route == nullptr       ? std::string_view()
                 : route->label.empty() ? std::string_view(route->spec.path)
                                        : std::string_view(route->label);
  record.reason = reason != Reject::none ? token_of(reason) : ex.refusal();
  record.protocol = ex.protocol();
  record.trace = ex.trace_ids();
  record.tls = ex.tls();
  const RequestId* const id = ex.find_slot<RequestId>();
  record.request_id = id != nullptr ? std::string_view(id->text) : std::string_view();
  const AuthenticatedUser* const user = ex.find_slot<AuthenticatedUser>();
  record.user = user != nullptr ? std::string_view(user->name) : std::string_view();
}

const AccessLogHook* access_log_of(const Site& site, const Exchange& ex, const Route* route) noexcept {
  if (!site.wants_log()) return nullptr;
  const AccessLogHook& log = route != nullptr && route->access_log ? *route->access_log : site.options().access_log;
  const bool wanted = log.write != nullptr && (log.wants == nullptr || log.wants(log.argument, ex.path()));
  return wanted ? &log : nullptr;
}

metric::Exemplar exemplar_of(const trace::SpanContext& ids) noexcept {
  metric::Exemplar exemplar;
  const auto put = [](std::uint64_t id, std::uint8_t* to) {
    const std::uint64_t big = htobe64(id);
    std::memcpy(to, &big, sizeof big);
  };
  put(ids.trace_id.high, exemplar.trace_id.data());
  put(ids.trace_id.low, exemplar.trace_id.data() + 8);
  put(ids.span_id.value, exemplar.span_id.data());
  return exemplar;
}

}  // namespace fiberd::http
