#include "core/http/site/gate_filter.hpp"

#include <array>
#include <charconv>
#include <new>

#include "core/http/site/dispatch.hpp"

namespace fiberd::http {

static Result<void> answer(Exchange& exchange, const Gate::Refusal& refusal, Limit limit) {
  exchange.set_refusal(to_string(limit));
  std::array<char, 24> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), refusal.retry_after);
  const Field field{"Retry-After", {text.data(), static_cast<std::size_t>(end - text.data())}};
  return exchange.respond_error(refusal.status, {&field, 1});
}

/// Who waits does so under the request's context: a client that has gone gives up its place in the queue.
Result<void> GateFilter::pass(Exchange& ex, Next next) {
  const GateRequest request{ex.request().headers, gate_.wants_client() ? ex.client_key() : 0};
  if (const Gate::Refusal refusal = gate_.take_token(request)) return answer(ex, refusal, Limit::rate_limit);
  flow::Permit permit;
  const bool waits = !gate_.try_take_place(permit);
  context::Context ctx;
  if (waits || gate_.has_pool()) {
    // Answers to earlier requests must not wait for this one's turn.
    if (Result<void> sent = Dispatch::stream_of(ex).flush(); !sent) return sent;
    ctx = ex.context();
  }
  if (waits)
    if (const Gate::Refusal refusal = gate_.wait_for_place(ctx, request, permit))
      return answer(ex, refusal, Limit::concurrency);
  Result<void> done;
  const Gate::Refusal refusal = gate_.run(ctx, [&] { done = next(ex); });
  if (refusal) {
    permit.ignore();
    return answer(ex, refusal, Limit::worker_pool);
  }
  // What was answered without work says nothing of the load; what timed out does.
  if (ex.status() >= 400 && ex.status() < 500) permit.ignore();
  if (ex.status() == 503 || ex.status() == 504) permit.overloaded();
  return done;
}

Result<void> GateFilter::serve(Exchange& ex, Next next) {
  try {
    return pass(ex, next);
  } catch (const std::bad_alloc&) {  // a request for which there is no memory to wait
    return ex.committed() ? fail(std::errc::not_enough_memory)
                          : answer(ex, {.status = 503, .retry_after = 1}, Limit::concurrency);
  }
}

}  // namespace fiberd::http
