// What counters and the access log are told of an answer, and when: when it has been sent, for before nobody knows
// whether it will be. Answers of a pipeline leave together, so what is to be told of them waits in the workspace until
// they have. How long one took ends with its handler and its send, if it is sent alone; that its client goes on sending
// a body which nobody wants is no part of it.
#include <algorithm>

#include "core/base/clock.hpp"
#include "core/http/connection.hpp"

namespace fiberd::http {

static constexpr unsigned kClientLeft = 499;  // nginx's code for "the client left first"

/// The answer is complete, but for what has not left the output buffer.
void Connection::account(const Exchange& ex, const H1Stream& stream, const Route* route, Reject reason,
                         std::int64_t begin) noexcept {
  ws_->clock = monotonic_now();
  const auto duration = static_cast<std::uint64_t>(std::max<std::int64_t>(ws_->clock - begin, 0));
  metric::StatusCounters* const counters = route != nullptr ? route->counters : options().metrics.unrouted;
  const AccessLogHook* log = nullptr;
  if (ws_->site->wants_log()) {
    log = route != nullptr && route->access_log ? &*route->access_log : &options().access_log;
    if (log->write == nullptr) log = nullptr;
  }
  const bool logged = log != nullptr;
  if (ws_->unsent_count == Workspace::kMostUnsent) (void)flush();
  const bool waits = out_size_ != 0 && !output_lost_;
  if (!waits && !logged && !output_lost_) [[likely]] {
    if (counters != nullptr) counters->record(ex.status() != 0 ? ex.status() : kClientLeft, duration);
    return;
  }
  Unsent here;
  Unsent& answer = waits ? ws_->unsent[ws_->unsent_count++] : here;
  const H1Stream::Sent& sent = stream.sent();
  answer.log = log;
  answer.counters = counters;
  answer.answer_at = sent.answer_at;
  answer.body_at = sent.body_at;
  AccessRecord& record = answer.record;
  record.status = ex.status();
  record.body_bytes = sent.body_bytes;
  record.duration_ns = duration;
  if (logged) {
    const Request& r = ex.request();
    record.method = r.method_text;
    record.target = r.target;
    record.user_agent = r.headers.find("user-agent");
    record.referer = r.headers.find("referer");
    record.host = r.host;
    record.route = route == nullptr       ? std::string_view()
                   : route->label.empty() ? std::string_view(route->spec.path)
                                          : std::string_view(route->label);
    record.reason = reason != Reject::none ? token_of(reason) : std::string_view();
    record.protocol = stream.protocol();
    record.received_bytes = stream.received();
    record.head_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(sent.head_at - begin, 0));
  }
  if (!waits) tell(answer);
}

void Connection::tell_unsent() noexcept {
  for (std::uint32_t i = 0; i != ws_->unsent_count; ++i) tell(ws_->unsent[i]);
  ws_->unsent_count = 0;
}

void Connection::tell(Unsent& answer) noexcept {
  AccessRecord& r = answer.record;
  if (output_lost_) [[unlikely]] {
    r.body_bytes = std::min(r.body_bytes, sent_ - std::min(sent_, answer.body_at));
    if (sent_ <= answer.answer_at) r.status = 0;
  }
  if (r.status == 0) r.status = kClientLeft;
  if (answer.counters != nullptr) answer.counters->record(r.status, r.duration_ns);
  if (answer.log == nullptr) return;
  const net::Endpoint peer = peer_.endpoint();
  r.peer = &peer;
  answer.log->write(answer.log->argument, r);
}

}  // namespace fiberd::http
