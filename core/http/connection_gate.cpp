// How a request passes the gates of its listener and its route (gate.hpp), between its head and its handler.
#include <array>
#include <charconv>

#include "core/flow/keyed_hash.hpp"
#include "core/http/connection.hpp"
#include "core/net/address_counts.hpp"

namespace fiberd::http {

/// Asking for the peer is a system call, so each connection does it once.
std::uint64_t Connection::client_key() noexcept {
  static const flow::KeyedHash hash;
  if (client_key_ == 0) {
    const net::AddressCounts::Key address = net::AddressCounts::key_of(stream_.peer());
    client_key_ = hash.of({reinterpret_cast<const char*>(address.data()), sizeof address}) | 1U;
  }
  return client_key_;
}

static std::error_code answer(Exchange& exchange, const Gate::Refusal& refusal) {
  std::array<char, 24> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), refusal.retry_after);
  const Field field{"Retry-After", {text.data(), static_cast<std::size_t>(end - text.data())}};
  return exchange.respond_error(refusal.status, {&field, 1});
}

/// Through one gate to `inner`, or not: then the request has been answered. An error: the connection is lost.
template <class F>
std::error_code Connection::pass(Gate* gate, Exchange& ex, F&& inner) {
  if (gate == nullptr) {
    inner();
    return {};
  }
  const GateRequest request{ex.request_.headers, gate->wants_client() ? client_key() : 0};
  if (const Gate::Refusal refusal = gate->take_token(request)) return answer(ex, refusal);
  flow::Permit permit;
  if (!gate->try_take_place(permit)) {
    // Answers to earlier requests must not wait for this one's turn.
    if (const std::error_code error = flush()) return error;
    if (const Gate::Refusal refusal = gate->wait_for_place(request, permit)) return answer(ex, refusal);
  }
  if (gate->has_pool())
    if (const std::error_code error = flush()) return error;
  if (const Gate::Refusal refusal = gate->run(inner)) {
    permit.ignore();
    return answer(ex, refusal);
  }
  // What was answered without work says nothing of the load; what timed out does.
  if (ex.status_ >= 400 && ex.status_ < 500) permit.ignore();
  if (ex.status_ == 503 || ex.status_ == 504) permit.overloaded();
  return {};
}

std::error_code Connection::serve_gated(Exchange& ex, const Route& route) noexcept {
  std::error_code error;
  const std::error_code outer = pass(server_.options_.gate.get(), ex,
                                     [&] { error = pass(route.gate.get(), ex, [&] { call_handler(ex, route); }); });
  return outer ? outer : error;
}

std::error_code Connection::answer_unrouted_gated(Exchange& ex, const RouteMatch& match) noexcept {
  std::error_code error;
  const std::error_code outer = pass(server_.options_.gate.get(), ex, [&] { error = answer_unrouted(ex, match); });
  return outer ? outer : error;
}

}  // namespace fiberd::http
