#pragma once
// Site: everything about how a listener answers, and nothing about its connections: routes, filters, limits, time-outs,
// pages, logs. Immutable; a Server swaps it as a whole while it runs. A request keeps the Site it began with until it
// is accounted for, so it sees one configuration, and what that owns lives as long.
//
// What passes from one Site to the next. Some of what a Site uses has a state that a reload must not forget: a bucket
// that is nearly empty, the places of a limit, the workers of a pool, the bounds of what is kept open, the counters.
// These are shared objects, and whoever makes the next Site puts the same object there where its settings are equal,
// and a new one where they are not (daemon/gates.hpp). A Site itself passes on its workspaces, if the limits of heads,
// which say how large they are, have not changed.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/base/result.hpp"
#include "core/flow/pressure.hpp"
#include "core/http/access_record.hpp"
#include "core/http/filter.hpp"
#include "core/http/h1/head_guard.hpp"
#include "core/http/h2/options.hpp"
#include "core/http/handler.hpp"
#include "core/http/reject.hpp"
#include "core/http/site/error_page.hpp"
#include "core/http/site/gate.hpp"
#include "core/http/site/router.hpp"
#include "core/metric/late_counter.hpp"
#include "core/metric/metrics.hpp"
#include "core/metric/status_counters.hpp"
#include "core/runtime/fiber_name.hpp"
#include "core/runtime/profile_label.hpp"
#include "core/trace/tracer.hpp"

namespace fiberd::http {

class WorkspacePool;
struct WebSocketMetrics;

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
  /// Whether requests for this path, which is in normal form, are written; null: all are. Empty: of a head that was not
  /// understood.
  bool (*wants)(void* argument, std::string_view path) noexcept = nullptr;
};

/// Counters of a server; each may be null (not counted).
struct ServerMetrics {
  /// What the late ones live in: a server outlives the site that it was made with, and counts in that one's.
  std::shared_ptr<const void> keeps{};
  metric::Gauge* active = nullptr;  ///< connections that are being served now
  metric::Gauge* idle = nullptr;    ///< connections without fiber and buffers
  std::array<metric::LateCounter*, static_cast<std::size_t>(Reject::count_)> rejects{};
  metric::Counter* header_timeouts = nullptr;
  metric::Counter* body_timeouts = nullptr;
  metric::Counter* write_timeouts = nullptr;
  metric::Counter* idle_timeouts = nullptr;
  metric::Counter* body_rate = nullptr;   ///< request bodies that came slower than SiteOptions::body_rate
  metric::Counter* write_rate = nullptr;  ///< answers that were read slower than SiteOptions::write_rate
  metric::Counter* request_timeouts = nullptr;
  metric::Counter* reclaimed_idle = nullptr;  ///< idle connections closed to make room (reclaim.hpp)
  metric::Counter* reclaimed_head = nullptr;  ///< connections closed for that in the middle of a request's head
  metric::Counter* reclaimed_end = nullptr;   ///< connections closed for that after their last answer
  metric::Counter* spawn_refused = nullptr;   ///< connection dropped: no fiber, or no memory, could be had
  metric::Counter* epoll_refused =
      nullptr;                        ///< connection dropped: epoll did not take it, so it could not be waited for
  metric::Counter* panics = nullptr;  ///< handlers and filters that threw
  // Connections that the server closed behind an answer though the client had not asked for it:
  metric::Counter* closed_unread_body = nullptr;  ///< the request's body was more than is read for nothing
  metric::Counter* closed_age = nullptr;          ///< Timeouts::age
  metric::Counter* closed_requests = nullptr;     ///< SiteOptions::requests
  metric::Counter* closed_truncated = nullptr;    ///< the answer could not be finished: a file shrank, a handler failed
  const WebSocketMetrics* websocket = nullptr;
  metric::StatusCounters* unrouted = nullptr;  ///< answers that no route gave: 400, 404, 405, 501, …
  h2::Metrics http2{};
};

struct Route {
  RouteSpec spec;
  std::shared_ptr<Handler> handler;
  std::optional<std::uint64_t> body_size{};                   ///< instead of SiteOptions::body_size
  std::optional<std::chrono::nanoseconds> request_timeout{};  ///< instead of Timeouts::request
  /// Content must say its length: without, POST, PUT and PATCH, and whatever has content, are answered 411.
  bool require_length = false;
  flow::Priority priority = flow::Priority::normal;  ///< who is turned away first: SiteOptions::pressure
  metric::StatusCounters* counters = nullptr;
  std::shared_ptr<Gate> gate{};  ///< of this route; may be shared by several
  /// Inside of the site's, in this order. What the server answers for a route by itself passes them, too: 405, 411,
  /// 413, OPTIONS, the redirect to the path with a slash. For who asks for a method that no route of the path serves,
  /// that is the most specific route, and of several with its path the one that was given first.
  std::vector<std::shared_ptr<Filter>> filters{};
  std::vector<ErrorPage> error_pages{};       ///< before the site's
  std::optional<AccessLogHook> access_log{};  ///< instead of the site's; with write == nullptr: none
  std::string label{};                        ///< for logs; empty: spec.path
  runtime::FiberName trace_name = "";         ///< the same, for traces: of the site that it is in
};

struct SiteOptions {
  Timeouts timeouts;
  HeadLimits head;
  std::uint64_t body_size = 1024 * 1024;
  std::uint64_t body_rate = 240;   ///< bytes per second while waiting for a body, beyond the grace; 0: no bound
  std::uint64_t write_rate = 240;  ///< as body_rate, for answers
  h2::Options http2;
  std::uint32_t requests = 0;  ///< of one connection, ± 10 %: then it is closed after an answer; 0: no bound
  /// Hosts that are served, in lower case and without port, "*.example.org" for all below; others get 421. Empty: all.
  std::vector<std::string> hosts;
  bool address_hosts = false;  ///< beside `hosts`: requests for an IP address, and those without a Host (1.0)
  std::string server_name;     ///< Server field; empty: none
  std::string name;            ///< of the listener: the label "listener" of CPU samples; empty: none
  bool keeps_slow = true;      ///< a slow request is a cause to keep the flight recorder's trace (runtime/trace.hpp)
  /// Before all else, also before the gates: filters that say who is asking (Exchange::set_peer).
  std::vector<std::shared_ptr<Filter>> outermost{};
  std::shared_ptr<Gate> gate{};  ///< of all requests that are understood, before their routes
  /// While it sheds a route's priority its requests are answered 503 with Retry-After, before their bodies are read and
  /// before any gate. Null: never. Outlives the site.
  flow::Pressure* pressure = nullptr;
  /// Around all that is understood, in this order; errors of routing (404, 405, 411, 421) pass them, too.
  std::vector<std::shared_ptr<Filter>> filters{};
  std::vector<ErrorPage> error_pages;  ///< bodies of errors that the server or a handler answers, by status
  AccessLogHook access_log;
  std::shared_ptr<const trace::Tracer> tracer{};  ///< null: nothing is traced
  /// Of the answers. What counts connections is the server's for its whole life: that of its first site.
  ServerMetrics metrics;
  std::shared_ptr<const void> keeps{};  ///< what the pointers above point to, if somebody must own it
};

/// Any number of threads may use it at once.
class Site {
 public:
  /// `before`: the one that it replaces, if any. Errors: as Router::make; invalid_argument for a route without handler
  /// or a null filter. Throws std::bad_alloc.
  [[nodiscard]] static Result<std::shared_ptr<const Site>> make(SiteOptions options, std::vector<Route> routes,
                                                                const Site* before = nullptr);
  ~Site();
  Site(const Site&) = delete;
  Site& operator=(const Site&) = delete;

  [[nodiscard]] const SiteOptions& options() const noexcept { return options_; }
  [[nodiscard]] const std::vector<Route>& routes() const noexcept { return routes_; }
  [[nodiscard]] const Router& router() const noexcept { return router_; }
  [[nodiscard]] WorkspacePool& workspaces() const noexcept { return *workspaces_; }
  /// Somebody wants to know clients' addresses.
  [[nodiscard]] bool wants_client() const noexcept { return wants_client_; }
  /// Some of its answers are logged.
  [[nodiscard]] bool wants_log() const noexcept { return wants_log_; }
  /// The pools of its gates end; nobody may be inside. On a fiber.
  void stop() const;

 private:
  friend class Dispatch;
  /// What stands around the answers of one route, and what CPU samples of them are told apart by.
  struct Chain : std::vector<Filter*> {
    runtime::ProfileLabelNode label{"route", "none", nullptr};
  };
  Site(SiteOptions options, std::vector<Route> routes, Router router);
  /// What stands around answers that are about a route and not its handler's. Its gate is its handler's.
  struct Beside {
    Chain unrouted;
    Chain refused;
    bool preflights = false;  // one of its filters answers them
  };
  void chain();

  SiteOptions options_;
  std::vector<Route> routes_;
  Router router_;
  const runtime::ProfileLabelNode listener_label_{"listener", options_.name, nullptr};
  std::shared_ptr<WorkspacePool> workspaces_;
  std::vector<std::unique_ptr<Filter>> own_;  // what gates and require_length are as filters
  std::vector<Chain> chains_;                 // of each route
  std::vector<Beside> beside_;                // of each route
  Chain unrouted_;                            // for what is answered without a route
  Chain refused_;                             // for what is refused: without the gate
  bool wants_client_ = false;
  bool wants_log_ = false;
};

}  // namespace fiberd::http
