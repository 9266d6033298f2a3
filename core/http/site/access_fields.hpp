#pragma once
// What every protocol tells the access log, and metrics, of a request in the same way.
#include "core/http/access_record.hpp"
#include "core/http/exchange.hpp"
#include "core/http/reject.hpp"
#include "core/http/site/site.hpp"
#include "core/metric/exemplars.hpp"

namespace fiberd::http {

/// The texts that stand in the request, its route and what filters have found; `reason`: why it was refused. All but
/// the peer, the numbers and the trace's end.
void describe_request(AccessRecord& record, const Exchange& exchange, const Route* route, Reject reason) noexcept;
/// The hook that wants to be told of it; nullptr: nobody.
[[nodiscard]] const AccessLogHook* access_log_of(const Site& site, const Exchange& exchange,
                                                 const Route* route) noexcept;
[[nodiscard]] metric::Exemplar exemplar_of(const trace::SpanContext& ids) noexcept;

}  // namespace fiberd::http
