#pragma once
// TcpServer: a fiber per connection for a TCP service, with an orderly stop. What serves is a TcpSite, which can be
// replaced: connections that begin from then on are served by the next, those that are open go on by theirs.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/intrusive_list.hpp"
#include "core/context/context.hpp"
#include "core/flow/pressure.hpp"
#include "core/http/site/gate.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/listener.hpp"
#include "core/net/sessions.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/sync/atomic_snapshot.hpp"
#include "daemon/handlers.hpp"
#include "daemon/services/queues.hpp"

namespace fiberd::daemon {

/// Each may be null.
struct TcpServerMetrics {
  metric::Counter* refused = nullptr;     ///< connections for which no fiber could be had
  metric::Counter* exceptions = nullptr;  ///< that left a handler
  metric::Histogram* lived = nullptr;     ///< ns from accept to close of connections that are over
  net::ByteCounters bytes{};
};

/// How connections are served. Immutable; each keeps the one that it began with.
struct TcpSite {
  using Service = void (*)(net::TcpStream& stream, std::chrono::nanoseconds idle_timeout,
                           flow::Pressure* pressure) noexcept;
  Service service = nullptr;
  flow::Pressure* pressure = nullptr;        ///< of `service`; may be null
  std::chrono::nanoseconds idle_timeout{0};  ///< of `service`
  std::string name{};                        ///< of `handler`, in logs
  std::shared_ptr<TcpHandler> handler{};     ///< instead of `service`
  std::shared_ptr<http::Gate> gate{};        ///< what a connection passes before it is served; may be null
};

class TcpServer final : public Queues {
 public:
  /// Throws std::bad_alloc.
  /// `above`: the parent of handlers' contexts.
  TcpServer(std::shared_ptr<const TcpSite> site, const TcpServerMetrics& metrics,
            const context::Context& above = context::background())
      : site_(std::move(site)), all_(context::with_cancel(above)), metrics_(metrics) {}
  /// Serves with a program's own handler, called `name` in logs. Throws std::bad_alloc.
  TcpServer(std::string name, std::shared_ptr<TcpHandler> handler, const TcpServerMetrics& metrics)
      : TcpServer(std::make_shared<const TcpSite>(TcpSite{.name = std::move(name), .handler = std::move(handler)}),
                  metrics) {}
  ~TcpServer() override { all_.cancel(); }

  /// Connections that begin from now on are served by `site`. Any thread. Throws std::bad_alloc.
  void use(std::shared_ptr<const TcpSite> site) { site_.store(std::move(site)); }

  /// As net::OnAccept, with this object as its argument.
  static void on_accept(void* server, net::Admitted&& connection) noexcept;
  /// As net::OnStream: the handler's stream names the client.
  static void on_stream(void* server, net::TcpStream&& stream, net::Place&& place,
                        const net::Endpoint& client) noexcept;

  /// Reading ends for all sessions: they finish what they have read and close. Parks until all are gone; at `deadline`
  /// (monotonic ns, which may be moved meanwhile) the rest is cut, and the contexts of handlers are done. Returns how
  /// many were cut. On a fiber.
  std::size_t stop(const std::atomic<std::int64_t>& deadline);

  void measure(net::QueueSizes& sizes) noexcept override;
  std::size_t cut(std::size_t least, std::uint64_t& wanted) noexcept override;

 private:
  struct Session : ListHook {
    Session(TcpServer& s, std::shared_ptr<const TcpSite> by, net::TcpStream t, net::Place p) noexcept
        : server(s), site(std::move(by)), place(std::move(p)), stream(std::move(t)) {
      stream.count_bytes(s.metrics_.bytes);
      if (site->handler == nullptr) stream.set_single_owner();  // a program's may close it while stop() looks at it
    }
    TcpServer& server;
    const std::shared_ptr<const TcpSite> site;
    const std::int64_t begun = monotonic_now();
    net::Place place;  // outlives the stream
    net::TcpStream stream;
  };
  void accept(net::TcpStream&& stream, net::Place place) noexcept;
  void serve(Session& session) noexcept;
  void serve_now(Session& session) noexcept;
  void call_handler(Session& session) noexcept;
  void end(Session* session) noexcept;

  void abort_gates() noexcept;

  sync::AtomicSnapshot<std::shared_ptr<const TcpSite>> site_;
  const context::Cancelable all_;  // the parent of every connection's context
  const TcpServerMetrics metrics_;
  std::atomic<bool> stopping_{false};
  net::Sessions<Session> sessions_;
};

}  // namespace fiberd::daemon
