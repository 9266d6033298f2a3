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
void Connection::account(const Exchange& ex, const Route* route, std::int64_t begin) noexcept {
  ws_->clock = monotonic_now();
  const auto duration = static_cast<std::uint64_t>(std::max<std::int64_t>(ws_->clock - begin, 0));
  metric::StatusCounters* const counters = route != nullptr ? route->counters : server_.options_.metrics.unrouted;
  const bool logged = server_.options_.access_log.write != nullptr;
  if (ws_->unsent_count == Workspace::kMostUnsent) (void)flush();
  const bool waits = out_size_ != 0 && !output_lost_;
  if (!waits && !logged && !output_lost_) [[likely]] {
    if (counters != nullptr) counters->record(ex.status_ != 0 ? ex.status_ : kClientLeft, duration);
    return;
  }
  Unsent here;
  Unsent& answer = waits ? ws_->unsent[ws_->unsent_count++] : here;
  answer.counters = counters;
  answer.answer_at = ex.answer_at_;
  answer.body_at = ex.body_at_;
  answer.record.status = ex.status_;
  answer.record.body_bytes = ex.body_bytes_;
  answer.record.duration_ns = duration;
  if (logged) {
    const Request& r = ex.request_;
    answer.record.method = r.method_text;
    answer.record.target = r.target;
    answer.record.user_agent = r.headers.find("user-agent");
    answer.record.referer = r.headers.find("referer");
    answer.record.version = r.version;
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
  const AccessLogHook& hook = server_.options_.access_log;
  if (hook.write == nullptr) return;
  const net::Endpoint peer = peer_.endpoint();
  r.peer = &peer;
  hook.write(hook.argument, r);
}

}  // namespace fiberd::http
