// How a request passes the gates of its listener and its route (gate.hpp), between its head and its handler.
#include <array>
#include <charconv>
#include <new>

#include "core/http/connection.hpp"

namespace fiberd::http {

std::uint64_t Connection::client_key() noexcept {
  if (client_key_ == 0) client_key_ = http::client_key(peer_.endpoint());
  return client_key_;
}

static std::error_code answer(Exchange& exchange, const Gate::Refusal& refusal) {
  std::array<char, 24> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), refusal.retry_after);
  const Field field{"Retry-After", {text.data(), static_cast<std::size_t>(end - text.data())}};
  return error_of(exchange.respond_error(refusal.status, {&field, 1}));
}

/// Through one gate to `inner`, or not: then the request has been answered. An error: the connection is lost. Who waits
/// does so under the request's context: a client that has gone gives up its place in the queue.
template <class F>
std::error_code Connection::pass(Gate* gate, Exchange& ex, F&& inner) {
  if (gate == nullptr) {
    inner();
    return {};
  }
  const GateRequest request{ex.request_.headers, gate->wants_client() ? client_key() : 0};
  if (const Gate::Refusal refusal = gate->take_token(request)) return answer(ex, refusal);
  flow::Permit permit;
  const bool waits = !gate->try_take_place(permit);
  if (waits || gate->has_pool()) {
    // Answers to earlier requests must not wait for this one's turn.
    if (const std::error_code error = flush()) return error;
  }
  // A handle of its own: the handler's end, on another fiber, is the end of the exchange's.
  const context::Context ctx = waits || gate->has_pool() ? ex.context() : context::Context();
  if (waits)
    if (const Gate::Refusal refusal = gate->wait_for_place(ctx, request, permit)) return answer(ex, refusal);
  const Gate::Refusal refusal = gate->run(ctx, inner);
  if (refusal) {
    permit.ignore();
    return answer(ex, refusal);
  }
  // What was answered without work says nothing of the load; what timed out does.
  if (ex.status_ >= 400 && ex.status_ < 500) permit.ignore();
  if (ex.status_ == 503 || ex.status_ == 504) permit.overloaded();
  return {};
}

/// A request for which there is no memory to wait.
template <class F>
std::error_code Connection::pass_or_refuse(Gate* gate, Exchange& ex, F&& inner) noexcept {
  try {
    return pass(gate, ex, inner);
  } catch (const std::bad_alloc&) {
    return ex.committed() ? std::make_error_code(std::errc::not_enough_memory)
                          : answer(ex, {.status = 503, .retry_after = 1});
  }
}

std::error_code Connection::serve_gated(Exchange& ex, const Route& route) noexcept {
  std::error_code error;
  const std::error_code outer = pass_or_refuse(server_.options_.gate.get(), ex, [&] {
    error = pass_or_refuse(route.gate.get(), ex, [&] { call_handler(ex, route); });
  });
  ex.end_context();  // of one that was refused
  return outer ? outer : error;
}

std::error_code Connection::answer_unrouted_gated(Exchange& ex, const RouteMatch& match) noexcept {
  std::error_code error;
  const std::error_code outer =
      pass_or_refuse(server_.options_.gate.get(), ex, [&] { error = answer_unrouted(ex, match); });
  ex.end_context();
  return outer ? outer : error;
}

}  // namespace fiberd::http
