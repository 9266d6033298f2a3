// What counters and the access log are told of an answer, and when: when it has been sent, for before nobody knows
// whether it will be. Answers of a pipeline leave together, so what is to be told of them waits in the workspace until
// they have. How long one took ends with its handler and its send, if it is sent alone; that its client goes on sending
// a body which nobody wants is no part of it.
#include <algorithm>
#include <memory>
#include <new>
#include <optional>

#include "core/base/clock.hpp"
#include "core/http/h1/connection.hpp"
#include "core/http/site/access_fields.hpp"
#include "core/http/site/dispatch.hpp"
#include "core/runtime/trace_request.hpp"

namespace fiberd::http {

static constexpr unsigned kClientLeft = 499;  // nginx's code for "the client left first"

/// What the record says that goes with its request, or would. False: memory is out.
static bool keep(Unsent& answer, const Exchange& ex) noexcept {
  AccessRecord& r = answer.record;
  if (!ex.peer_is_set() && r.request_id.empty() && r.user.empty()) return true;
  try {
    answer.kept = new KeptForLog{ex.peer(), std::string(r.request_id), std::string(r.user)};
  } catch (const std::bad_alloc&) {
    return false;
  }
  r.peer = &answer.kept->peer;
  r.request_id = answer.kept->request_id;
  r.user = answer.kept->user;
  return true;
}

/// The answer is complete, but for what has not left the output buffer. `head`: bytes of the request's.
void Connection::account(const Exchange& ex, const H1Stream& stream, const Route* route, Reject reason,
                         std::int64_t begin, std::size_t head) noexcept {
  Workspace& ws = *ws_;
  ws.clock = monotonic_now();
  const auto duration = static_cast<std::uint64_t>(std::max<std::int64_t>(ws.clock - begin, 0));
  const unsigned told = ex.status();
  const unsigned status = told != 0 ? told : kClientLeft;
  runtime::trace::end_request(*runtime::Machine::current_machine(), status, duration, options().keeps_slow);
  const bool traced = Dispatch::keeps_trace(ex, status, duration);
  const bool waits = ws.out_size != 0 && !ws.output_lost;
  metric::StatusCounters* const counters = route != nullptr ? route->counters : options().metrics.unrouted;
  if (waits || traced || ws.output_lost || ws.site->wants_log())
    return account_more(ex, stream, {route, reason, begin, head, duration, status, traced}, counters);
  if (counters != nullptr)
    counters->record({.method = static_cast<std::size_t>(ex.request().method),
                      .code = status,
                      .duration_ns = duration,
                      .received = head + stream.received(),
                      .sent = told != 0 ? ws.sent - stream.sent().answer_at : 0,
                      .exemplar = nullptr});
}

/// The same of one that is told later, or of which more is told.
void Connection::account_more(const Exchange& ex, const H1Stream& stream, const Accounted& what,
                              metric::StatusCounters* counters) noexcept {
  Workspace& ws = *ws_;
  const Route* const route = what.route;
  const Reject reason = what.reason;
  const std::uint64_t duration = what.duration;
  const unsigned status = what.status;
  const bool traced = what.traced;
  if (traced) [[unlikely]]
    Dispatch::end_trace(ex, route,
                        {.status = status,
                         .at = ws.clock,
                         .received = stream.received(),
                         .sent = stream.sent_body(),
                         .refused = reason != Reject::none ? reason : stream.refused()});
  const AccessLogHook* const log = access_log_of(*ws.site, ex, route);
  const bool logged = log != nullptr;
  if (ws.unsent_count == Workspace::kMostUnsent) (void)flush();
  const bool waits = ws.out_size != 0 && !ws.output_lost;
  const H1Stream::Sent& sent = stream.sent();
  const std::uint64_t received = what.head + stream.received();
  if (!waits && !logged && !ws.output_lost) {
    metric::Exemplar exemplar;
    if (traced) exemplar = exemplar_of(ex.trace_ids());
    if (counters != nullptr)
      counters->record({.method = static_cast<std::size_t>(ex.request().method),
                        .code = status,
                        .duration_ns = duration,
                        .received = received,
                        .sent = ex.status() != 0 ? ws.sent - sent.answer_at : 0,
                        .exemplar = traced ? &exemplar : nullptr});
    return;
  }
  const auto note = [&](Unsent& answer) noexcept {
    answer.log = log;
    answer.counters = counters;
    answer.answer_at = sent.answer_at;
    answer.body_at = sent.body_at;
    answer.end_at = ex.status() != 0 ? ws.sent + ws.out_size : sent.answer_at;
    answer.received = received;
    answer.method = ex.request().method;
    answer.traced = traced;
    if (traced) [[unlikely]]
      answer.exemplar = exemplar_of(ex.trace_ids());
    answer.kept = nullptr;
    answer.record.status = ex.status();
    answer.record.body_bytes = stream.sent_body();
    answer.record.duration_ns = duration;
  };
  // In a pipeline; of a record that nobody logs nothing else is looked at.
  if (waits && !logged) return note(ws.unsent[ws.unsent_count++]);
  Unsent here;
  Unsent& answer = waits ? ws.unsent[ws.unsent_count++] : here;
  note(answer);
  AccessRecord& record = answer.record;
  std::optional<net::Endpoint> peer;
  if (logged) {
    describe_request(record, ex, route, reason != Reject::none ? reason : stream.refused());
    record.received_bytes = stream.received();
    record.head_ns = static_cast<std::uint64_t>(std::max<std::int64_t>(sent.head_at - what.begin, 0));
    record.peer = nullptr;
    if (!waits && ex.peer_is_set()) {
      peer = ex.peer();
      record.peer = &*peer;
    }
    // A line that names another client would be worse than none.
    if (waits && !keep(answer, ex)) answer.log = nullptr;
  }
  if (!waits) tell(answer);
}

void Connection::tell_unsent() noexcept {
  for (std::uint32_t i = 0; i != ws_->unsent_count; ++i) tell(ws_->unsent[i]);
  ws_->unsent_count = 0;
}

void Connection::tell(Unsent& answer) noexcept {
  AccessRecord& r = answer.record;
  if (ws_->output_lost) [[unlikely]] {
    const std::uint64_t sent = ws_->sent;
    r.body_bytes = std::min(r.body_bytes, sent - std::min(sent, answer.body_at));
    answer.end_at = std::max(answer.answer_at, std::min(sent, answer.end_at));
    if (sent <= answer.answer_at) r.status = 0;
  }
  if (r.status == 0) r.status = kClientLeft;
  if (answer.counters != nullptr)
    answer.counters->record({.method = static_cast<std::size_t>(answer.method),
                             .code = r.status,
                             .duration_ns = r.duration_ns,
                             .received = answer.received,
                             .sent = answer.end_at - answer.answer_at,
                             .exemplar = answer.traced ? &answer.exemplar : nullptr});
  if (answer.log == nullptr) return;
  const std::unique_ptr<KeptForLog> kept(answer.kept);
  std::optional<net::Endpoint> peer;
  if (r.peer == nullptr) {
    peer = peer_.endpoint();
    r.peer = &*peer;
  }
  answer.log->write(answer.log->argument, r);
}

}  // namespace fiberd::http
