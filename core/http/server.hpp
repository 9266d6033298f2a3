#pragma once
// Server: HTTP/1.1 connections of one listener, from accept to close. The life of a connection: connection.cpp.
#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/fiber/stack_claim.hpp"
#include "core/http/access_record.hpp"
#include "core/http/error_page.hpp"
#include "core/http/exchange.hpp"
#include "core/http/gate.hpp"
#include "core/http/router.hpp"
#include "core/http/workspace.hpp"
#include "core/metric/metrics.hpp"
#include "core/metric/status_counters.hpp"
#include "core/net/endpoint.hpp"
#include "core/runtime/fiber_name.hpp"

namespace fiberd::http {

class Connection;

/// What a connection that is not being served waits for.
enum class Waiting : std::uint8_t {
  for_end,      ///< it was answered for the last time, and what it still sends is discarded
  for_request,  ///< idle
  for_head      ///< in the middle of one
};

struct Timeouts {
  std::chrono::nanoseconds header = std::chrono::seconds(10);   ///< accept or first byte → end of head
  std::chrono::nanoseconds body = std::chrono::seconds(30);     ///< no progress of the request's body
  std::chrono::nanoseconds request = std::chrono::seconds(60);  ///< end of head → head of the answer committed
  std::chrono::nanoseconds write = std::chrono::seconds(30);    ///< no progress of the answer
  std::chrono::nanoseconds idle = std::chrono::seconds(60);     ///< between requests
  std::chrono::nanoseconds grace = std::chrono::seconds(5);     ///< waiting before the least rates are asked for
  std::chrono::nanoseconds age{0};  ///< of a connection, ± 10 %: then it is closed after an answer; 0: no bound
  /// How long a stop leaves an idle connection open that was told that it goes on, counted from begin_stop() or from
  /// its last answer, whichever is later: a request that is under way is still served.
  std::chrono::nanoseconds drain = std::chrono::seconds(1);
};

/// Called on the connection's fiber; must not park.
struct AccessLogHook {
  void (*write)(void* argument, const AccessRecord& record) noexcept = nullptr;
  void* argument = nullptr;
};

/// Counters of a server; each may be null (not counted).
struct ServerMetrics {
  metric::Gauge* active = nullptr;  ///< connections that are being served now
  metric::Gauge* idle = nullptr;    ///< connections without fiber and buffers
  std::array<metric::Counter*, static_cast<std::size_t>(Reject::count_)> rejects{};
  metric::Counter* header_timeouts = nullptr;
  metric::Counter* body_timeouts = nullptr;
  metric::Counter* write_timeouts = nullptr;
  metric::Counter* idle_timeouts = nullptr;
  metric::Counter* body_rate = nullptr;   ///< request bodies that came slower than ServerOptions::body_rate
  metric::Counter* write_rate = nullptr;  ///< answers that were read slower than ServerOptions::write_rate
  metric::Counter* request_timeouts = nullptr;
  metric::Counter* reclaimed_idle = nullptr;  ///< idle connections closed to make room (reclaim.hpp)
  metric::Counter* reclaimed_head = nullptr;  ///< connections closed for that in the middle of a request's head
  metric::Counter* reclaimed_end = nullptr;   ///< connections closed for that after their last answer
  metric::Counter* spawn_refused = nullptr;   ///< connection dropped: no fiber could be had
  metric::Counter* panics = nullptr;          ///< handlers that threw
  // Connections that the server closed behind an answer though the client had not asked for it:
  metric::Counter* closed_unread_body = nullptr;  ///< the request's body was more than is read for nothing
  metric::Counter* closed_age = nullptr;          ///< Timeouts::age
  metric::Counter* closed_requests = nullptr;     ///< ServerOptions::requests
  metric::Counter* closed_truncated = nullptr;    ///< the answer could not be finished: a file shrank, a handler failed
  metric::StatusCounters* unrouted = nullptr;     ///< answers that no route gave: 400, 404, 405, 501, …
};

struct Route {
  RouteSpec spec;
  std::shared_ptr<Handler> handler;
  std::optional<std::uint64_t> body_size{};                   ///< instead of ServerOptions::body_size
  std::optional<std::chrono::nanoseconds> request_timeout{};  ///< instead of Timeouts::request
  /// Content must say its length: with `chunked`, and POST, PUT and PATCH without Content-Length, are answered 411.
  bool require_length = false;
  metric::StatusCounters* counters = nullptr;
  std::shared_ptr<Gate> gate{};  ///< of this route; may be shared by several
  bool gated = false;            ///< set by Server: it has a gate, or the server has
};

struct ServerOptions {
  Timeouts timeouts;
  HeadLimits head;
  std::uint64_t body_size = 1024 * 1024;
  std::uint64_t body_rate = 240;   ///< bytes per second while waiting for a body, beyond the grace; 0: no bound
  std::uint64_t write_rate = 240;  ///< as body_rate, for answers
  std::uint32_t requests = 0;      ///< of one connection, ± 10 %: then it is closed after an answer; 0: no bound
  /// Hosts that are served, in lower case and without port, "*.example.org" for all below; others get 421. Empty: all.
  std::vector<std::string> hosts;
  bool address_hosts = false;  ///< beside `hosts`: requests for an IP address, and those without a Host (1.0)
  std::string server_name;     ///< Server field; empty: none
  runtime::FiberName fiber_name = "http";  ///< of new connections' fibers: for admission and for who looks at them
  fiber::StackClaim claim = fiber::StackClaim::ordinary;  ///< of connections' fibers, when there are hardly any left
  runtime::FiberName kept_fiber_name = "http kept";  ///< as fiber_name, when an idle connection's next request has come
  std::shared_ptr<Gate> gate{};                      ///< of all requests that are understood, before their routes
  std::vector<ErrorPage> error_pages;  ///< bodies of errors that the server or a handler answers, by status
  AccessLogHook access_log;
  ServerMetrics metrics;
  context::Context context;  ///< the parent of all contexts that handlers are given
  /// A client that ends its side of the connection (FIN) counts as gone for the contexts of handlers, not for answers:
  /// client_context.hpp.
  bool half_close_cancels = true;
};

/// Thread-safe. Must outlive its connections: stop() first.
class Server {
 public:
  /// Errors: as Router::make; invalid_argument for a route without handler.
  [[nodiscard]] static Result<std::unique_ptr<Server>> make(ServerOptions options, std::vector<Route> routes);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Called when a connection ended, so that its listener may count it off. Must not park.
  using OnClosed = void (*)(void* argument) noexcept;

  /// Takes over an accepted, non-blocking socket. Never parks: may be called in the scheduler. When no fiber or memory
  /// can be had the connection is closed and counted.
  /// `client` as accept said it; unspecified: the kernel is asked when a log or a gate wants to know.
  void serve(int fd, OnClosed on_closed, void* argument, const net::Endpoint& client = {}) noexcept;

  /// A stop is near: from now on every answer says `Connection: close`; all else goes on. Idempotent.
  void begin_stop() noexcept;
  /// Stops, after begin_stop() if nobody has called it: idle connections are closed when Timeouts::drain is over,
  /// others after the request they are in. Parks until all are gone or `deadline` (monotonic ns, which may be moved
  /// meanwhile), then closes the rest. Returns how many were cut, idle ones not counted. On a fiber.
  std::size_t stop(const std::atomic<std::int64_t>& deadline);

  /// For reclaim(): appends since when (monotonic ns) each connection that waits so does so.
  void waiting_since(Waiting what, std::vector<std::int64_t>& out);
  /// For reclaim(): closes up to `most` connections that wait so since `until` or longer. Returns how many.
  std::size_t close_waiting(Waiting what, std::int64_t until, std::size_t most) noexcept;

  /// The server's: done when stop() cuts what is left, or has ended. The parent of its connections' contexts.
  [[nodiscard]] const context::Context& context() const noexcept { return all_.context; }
  [[nodiscard]] std::size_t connections() const noexcept { return count_.load(std::memory_order_relaxed); }

 private:
  friend class Connection;
  friend class Exchange;
  Server(ServerOptions options, std::vector<Route> routes, Router router);
  void add(Connection& connection) noexcept;
  void unlist(Connection& connection) noexcept;
  void destroy(Connection& connection) noexcept;
  bool part_idle(std::int64_t now, bool hard) noexcept;

  ServerOptions options_;
  std::vector<Route> routes_;
  Router router_;
  WorkspacePool workspaces_;
  const context::Cancelable all_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::int64_t> stop_begun_{0};  // monotonic ns
  bool wants_client_ = false;
  std::atomic<std::size_t> count_{0};
  Lock lock_;
  List<Connection> connections_;
};

}  // namespace fiberd::http
