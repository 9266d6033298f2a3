#pragma once
// A client on a runtime of its own, with all of its counters, and calls that make a request on a fiber and bring back
// what came of it.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "core/http/client/client.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"

namespace fiberd::test {

struct Fetched {
  std::error_code error;
  unsigned status = 0;
  std::string body;
  bool reused = false;
};

/// The whole of an answer.
inline Fetched fetch(const context::Context& ctx, http::Client& client, const http::ClientRequest& request) {
  Fetched out;
  Result<http::ClientResponse> answer = client.send(ctx, request);
  if (!answer) {
    out.error = answer.error();
    return out;
  }
  out.status = answer->status();
  out.reused = answer->reused();
  for (;;) {
    const Result<std::string_view> piece = answer->read_body(ctx);
    if (!piece) {
      out.error = piece.error();
      return out;
    }
    if (piece->empty()) return out;
    out.body += *piece;
  }
}

class ClientFixture {
 public:
  explicit ClientFixture(http::ClientOptions options = {}, unsigned processors = 2) {
    auto runtime = runtime::Runtime::start({.gomaxprocs = processors});
    if (!runtime) throw std::system_error(runtime.error());
    runtime_ = std::move(*runtime);
    http::ClientMetrics& m = options.metrics;
    m.requests = counter("requests");
    m.opened = counter("opened");
    m.reused = counter("reused");
    m.stolen = counter("stolen");
    m.retried = counter("retried");
    m.waited = counter("waited");
    m.handshakes = counter("handshakes");
    m.resumed = counter("resumed");
    m.idle_ended = counter("idle_ended");
    m.idle_timeout = counter("idle_timeout");
    m.idle = gauge("idle");
    m.connections = gauge("connections");
    for (std::size_t i = 0; i < m.failures.size(); ++i)
      m.failures[i] = counter("failed_" + std::string(http::token_of(static_cast<http::ClientFailure>(i))));
    metrics = m;
    client_ = std::make_unique<http::Client>(std::move(options));
  }
  ~ClientFixture() {
    runtime_->run([this] { client_.reset(); });
  }
  ClientFixture(const ClientFixture&) = delete;
  ClientFixture& operator=(const ClientFixture&) = delete;

  [[nodiscard]] http::Client& client() noexcept { return *client_; }
  [[nodiscard]] runtime::Runtime& runtime() noexcept { return *runtime_; }
  /// On a fiber; returns when it has ended.
  void run(UniqueFunction fn) { runtime_->run(std::move(fn)); }
  Fetched fetch(const http::ClientRequest& request) {
    Fetched out;
    run([&] { out = test::fetch(context::background(), *client_, request); });
    return out;
  }
  Fetched get(std::string_view url) { return fetch({.url = url}); }
  [[nodiscard]] std::uint64_t failures(http::ClientFailure what) const {
    return metrics.failures[static_cast<std::size_t>(what)]->value();
  }
  http::ClientMetrics metrics;

 private:
  metric::Counter* counter(std::string name) {
    return &registry_.counter(registry_.family({.name = std::move(name) + "_total", .help = "x"}));
  }
  metric::Gauge* gauge(std::string name) {
    return &registry_.gauge(registry_.family({.name = std::move(name), .help = "x", .type = metric::Type::gauge}));
  }
  metric::Registry registry_;
  std::unique_ptr<runtime::Runtime> runtime_;
  std::unique_ptr<http::Client> client_;
};

}  // namespace fiberd::test
