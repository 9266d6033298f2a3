#pragma once
// How a client behaves.
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>

#include "core/http/client/client_metrics.hpp"
#include "core/http/client/pool.hpp"
#include "core/http/h1/head_guard.hpp"
#include "core/net/resolver.hpp"
#include "core/tls/client_context.hpp"

namespace fiberd::http {

/// Beside these the context's deadline holds for the whole. All > 0; nanoseconds::max() for no bound.
struct ClientTimeouts {
  std::chrono::nanoseconds connect =
      std::chrono::seconds(10);  ///< the name's look-up, all addresses that are tried, and TLS
  std::chrono::nanoseconds write = std::chrono::seconds(30);  ///< the server takes nothing more of the request
  std::chrono::nanoseconds head = std::chrono::seconds(60);   ///< the request is sent → the answer's head is here
  std::chrono::nanoseconds body = std::chrono::seconds(30);   ///< nothing more of the answer's body comes
  std::chrono::nanoseconds expect = std::chrono::seconds(1);  ///< for 100 Continue; then the body is sent anyway
};

struct ClientOptions {
  ClientTimeouts timeouts{};
  PoolOptions pool{};
  HeadLimits head{};                    ///< of an answer's head, and of each interim one; target_size is not used
  std::uint64_t body_size = INT64_MAX;  ///< bytes of an answer's body
  std::uint32_t interim = 8;            ///< interim answers (1xx) before the answer
  std::string user_agent = "fiberd";    ///< of requests that say none; empty: none
  net::ResolverOptions resolver{};
  /// Of https: whom to believe, and with which certificate to go. Null: the system's authorities, and none.
  std::shared_ptr<const tls::ClientContext> tls{};
  ClientMetrics metrics{};
};

}  // namespace fiberd::http
