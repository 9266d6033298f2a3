#pragma once
// Server: HTTP connections of one listener, from accept to close. The life of a connection: connection.cpp.
#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "core/base/clock.hpp"
#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/fiber/stack_claim.hpp"
#include "core/http/exchange.hpp"
#include "core/http/site/site.hpp"
#include "core/net/admitted.hpp"
#include "core/net/byte_stream.hpp"
#include "core/net/endpoint.hpp"
#include "core/net/place.hpp"
#include "core/net/queue_sizes.hpp"
#include "core/net/sessions.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/runtime/fiber_name.hpp"
#include "core/sync/atomic_snapshot.hpp"

namespace fiberd::http {

class Connection;
namespace h2 {
class Session;
class Stream;
struct Callbacks;
}  // namespace h2

/// What a connection that is not being served waits for.
enum class Waiting : std::uint8_t {
  for_end,      ///< it was answered for the last time, and what it still sends is discarded
  for_request,  ///< idle
  for_head      ///< in the middle of one
};

/// What is the server's for its whole life, whichever Site it serves by.
struct ServerOptions : SiteOptions {
  runtime::FiberName fiber_name = "http";  ///< of new connections' fibers: for admission and for who looks at them
  fiber::StackClaim claim = fiber::StackClaim::ordinary;  ///< of connections' fibers, when there are hardly any left
  runtime::FiberName kept_fiber_name = "http kept";  ///< as fiber_name, when an idle connection's next request has come
  context::Context context;                          ///< the parent of all contexts that handlers are given
  /// A client that ends its side of the connection (FIN) counts as gone for the contexts of handlers, not for answers:
  /// client_context.hpp.
  bool half_close_cancels = true;
};

/// Thread-safe. Must outlive its connections: stop() first.
class Server {
 public:
  /// A server whose first Site is made of the options' part for it. Errors: as Site::make.
  [[nodiscard]] static Result<std::unique_ptr<Server>> make(ServerOptions options, std::vector<Route> routes);
  /// By a Site that was made before; of `options` only what stands in ServerOptions itself counts. The counters of
  /// connections are those of this first Site for the server's whole life. Throws std::bad_alloc.
  [[nodiscard]] static std::unique_ptr<Server> make_for(const ServerOptions& options, std::shared_ptr<const Site> site);
  /// Requests that begin from now on are served by `site`; those that have begun end by the one they began with, which
  /// dies with the last of them. Connections go on; one whose buffers are not the new Site's (other limits of heads, or
  /// made without the Site before) follows when nothing of its client waits in them. Thread-safe, anywhere. Throws
  /// std::bad_alloc.
  void use(std::shared_ptr<const Site> site);
  /// The present one.
  [[nodiscard]] std::shared_ptr<const Site> site() const;
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  /// Takes over a connection. Never parks: may be called in the scheduler. When no fiber or memory can be had the
  /// connection is closed and counted. If nobody has asked accept for the client, the kernel is asked when a log or a
  /// gate wants to know.
  void serve(net::Admitted&& connection) noexcept;
  /// As net::OnAccept: what a listener's start() is given, with the server as its argument.
  static void on_accept(void* server, net::Admitted&& connection) noexcept {
    static_cast<Server*>(server)->serve(std::move(connection));
  }
  /// The same of a socket that somebody has had before: nothing that is ours has been read from it. The place is given
  /// back when the connection is closed.
  void serve(net::TcpStream stream, net::Place place, const net::Endpoint& client) noexcept;

  /// A stop is near: from now on every answer says `Connection: close`; all else goes on. Idempotent.
  void begin_stop() noexcept;
  /// Stops, after begin_stop() if nobody has called it: idle connections are closed when Timeouts::drain is over,
  /// others after the request they are in. Parks until all are gone or `deadline` (monotonic ns, which may be moved
  /// meanwhile), then closes the rest. Returns how many were cut, idle ones not counted. On a fiber.
  std::size_t stop(const std::atomic<std::int64_t>& deadline);

  /// serve() over something else than a socket.
  void serve(std::unique_ptr<net::ByteStream> stream, net::Place place = {}, const net::Endpoint& client = {}) noexcept;

  /// For reclaim(): appends since when (monotonic ns) each connection that waits so does so.
  void waiting_since(Waiting what, std::vector<std::int64_t>& out);
  /// For reclaim(): closes up to `most` connections that wait so since `until` or longer. Returns how many.
  std::size_t close_waiting(Waiting what, std::int64_t until, std::size_t most) noexcept;

  /// What the kernel holds for connections that are being served. Thread-safe; never parks.
  void measure_queues(net::QueueSizes& sizes) noexcept;
  /// Cuts of these those for which it holds `least` bytes or more, until it was `wanted`, and takes these off `wanted`.
  /// Their requests end as if the client had left. Returns how many. Thread-safe; never parks.
  std::size_t cut_queues(std::size_t least, std::uint64_t& wanted) noexcept;

  /// The server's: done when stop() cuts what is left, or has ended. The parent of its connections' contexts.
  [[nodiscard]] const context::Context& context() const noexcept { return all_.context; }
  /// A child of context(): done with the cause errc::draining as soon as stop() is called. For what has no end of its
  /// own.
  [[nodiscard]] const context::Context& drain_context() const noexcept { return drain_.context; }
  [[nodiscard]] std::size_t connections() const noexcept { return connections_.size(); }

 private:
  friend class Connection;
  friend class H1Stream;
  friend class h2::Session;
  friend class h2::Stream;
  friend struct h2::Callbacks;
  Server(const ServerOptions& options, std::shared_ptr<const Site> site);
  void start(Connection* connection) noexcept;
  void note(const Site& site) noexcept;
  void unlist(Connection& connection) noexcept;
  void destroy(Connection& connection) noexcept;
  bool part_idle(std::int64_t now, bool hard) noexcept;

  const runtime::FiberName fiber_name_;
  const runtime::FiberName kept_fiber_name_;
  const fiber::StackClaim claim_;
  const bool half_close_cancels_;
  const ServerMetrics metrics_;
  sync::AtomicSnapshot<std::shared_ptr<const Site>> site_;
  // Grows behind each store into site_: who has a Site in hand, and the number from before it was read, sees by that
  // whether there is a newer one.
  std::atomic<std::uint32_t> site_version_{0};
  // It bounds connections' lives, or wants to know clients' addresses: told by use(), for to hold a Site costs as much
  // as the rest of accepting.
  std::atomic<bool> ask_site_{false};
  const context::Cancelable all_;
  const context::Cancelable drain_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::int64_t> stop_begun_{0};  // monotonic ns
  net::Sessions<Connection> connections_;
};

}  // namespace fiberd::http
