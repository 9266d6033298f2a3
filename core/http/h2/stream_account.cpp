// What counters, traces and the access log are told of an answer of HTTP/2: when its end has left, or will not.
#include <algorithm>
#include <optional>

#include "core/base/clock.hpp"
#include "core/http/h1/connection.hpp"
#include "core/http/h2/stream.hpp"
#include "core/http/site/access_fields.hpp"
#include "core/http/site/dispatch.hpp"

namespace fiberd::http::h2 {

static constexpr unsigned kLeft = 499;  // nginx's code for "the client left first"

/// Under the mutex; nothing in it parks.
void Stream::account() noexcept {
  const Exchange& ex = *exchange_;
  const Route* const route = dispatch_->route();
  const Reject reason = refused_ != Reject::none ? refused_ : dispatch_->reason();
  const std::int64_t begin = begun_at_;
  const std::int64_t now = monotonic_now();
  const auto duration = static_cast<std::uint64_t>(std::max<std::int64_t>(now - begin, 0));
  // Of an answer that was cut only what went out counts.
  const std::uint64_t body = sent_ && !upgraded_ ? std::min(sent_body_, moved_) : moved_;
  const bool head_left = sent_head_ != 0;
  const unsigned status = head_left ? status_ : 0;
  const unsigned counted = status != 0 ? status : kLeft;
  const bool traced = Dispatch::keeps_trace(ex, counted, duration);
  if (traced) [[unlikely]]
    Dispatch::end_trace(ex, route,
                        {.status = counted, .at = now, .received = received_, .sent = body, .refused = reason});
  metric::StatusCounters* const counters = route != nullptr ? route->counters : site_->options().metrics.unrouted;
  if (counters != nullptr) {
    metric::Exemplar exemplar;
    if (traced) exemplar = exemplar_of(ex.trace_ids());
    counters->record({.method = static_cast<std::size_t>(ex.request().method),
                      .code = counted,
                      .duration_ns = duration,
                      .received = head_bytes_ + received_,
                      .sent = sent_head_ + body,
                      .exemplar = traced ? &exemplar : nullptr});
  }
  const AccessLogHook* const log = access_log_of(*site_, ex, route);
  if (log == nullptr) return;
  AccessRecord record{};
  describe_request(record, ex, route, reason);
  const net::Endpoint peer = ex.peer();
  record.peer = &peer;
  record.status = counted;
  record.body_bytes = body;
  record.received_bytes = received_;
  record.duration_ns = duration;
  record.head_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(head_at_ - begin, 0));
  log->write(log->argument, record);
}

}  // namespace fiberd::http::h2
