#pragma once
// The aggregation service of one listener: intake, aggregator, the fiber that ends intervals, upstreams.
//
//   start  dispatchers, upstreams, the interval's fiber, then the readers
//   stop   readers take what has arrived and end → dispatchers take what is in the channels → the last interval is
//          collected and offered → upstreams send it; at the deadline the rest is cut, counted and logged
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

#include "config/config.hpp"
#include "core/context/context.hpp"
#include "core/http/server.hpp"
#include "core/metric/registry.hpp"
#include "core/net/listener.hpp"
#include "core/net/udp_socket.hpp"
#include "core/sync/atomic_snapshot.hpp"
#include "core/sync/wait_group.hpp"
#include "daemon/services/aggregate/aggregator.hpp"
#include "daemon/services/aggregate/intake.hpp"
#include "daemon/services/aggregate/upstream.hpp"
#include "daemon/services/entrance.hpp"
#include "daemon/services/tcp_server.hpp"

namespace fiberd::daemon::aggregate {

class Service {
 public:
  /// `config` is one that the loader took; `pressure` as AggregatorOptions'. Throws as Registry does.
  Service(const std::string& listener, const config::AggregateConfig& config, unsigned dispatchers,
          metric::Registry& registry, const flow::Pressure* pressure = nullptr,
          const context::Context& above = context::background());
  ~Service();
  Service(const Service&) = delete;
  Service& operator=(const Service&) = delete;

  [[nodiscard]] bool wants_tcp() const noexcept { return config_.protocol != config::AggregateProtocol::udp; }
  [[nodiscard]] bool wants_udp() const noexcept { return config_.protocol != config::AggregateProtocol::tcp; }
  /// A UDP socket for read(); `dual_stack`: "[::]" takes IPv4, too. Error: UdpSocket::bind's. Throws std::bad_alloc.
  [[nodiscard]] Result<std::shared_ptr<net::UdpSocket>> bind_udp(const net::Endpoint& endpoint,
                                                                 bool dual_stack = true) const;

  /// Before anything is accepted. On a fiber. Error: spawn's.
  [[nodiscard]] Result<void> start();
  /// The same of one that was bound before, which is its own from now on. `in_use`: another process reads by it, so
  /// nothing of it is changed before take_datagrams(true).
  [[nodiscard]] Result<std::shared_ptr<net::UdpSocket>> adopt_udp(int fd, bool in_use) const;
  /// Nothing is read before take_datagrams(true). Before start().
  void take_later() noexcept { taking_ = false; }
  /// Reads by the sockets, or leaves what comes in their queues: to nobody is anything lost but for want of room there.
  /// When it returns nobody reads, or somebody by each. On a fiber, one at a time with read(), leave() and stop().
  void take_datagrams(bool taking) noexcept;
  /// Takes what is sent to `socket`, from now until leave() or stop(). On a fiber, one at a time with the two. Error:
  /// spawn's. Throws std::bad_alloc.
  [[nodiscard]] Result<void> read(const std::shared_ptr<net::UdpSocket>& socket);
  /// What has arrived at `socket` is taken; then it closes.
  void leave(net::UdpSocket& socket) noexcept;
  /// Who serves connections; null without TCP.
  [[nodiscard]] TcpServer* tcp() noexcept { return tcp_.get(); }
  /// Null without TCP.
  [[nodiscard]] Entrance* entrance() noexcept { return entrance_.get(); }
  /// When the listener has stopped. Parks until all is sent on; at `deadline` (monotonic ns, which may be moved
  /// meanwhile) the rest is cut. Returns how many connections were. On a fiber.
  std::size_t stop(const std::atomic<std::int64_t>& deadline);

  /// As of the end of the last interval; never null. Any thread; never waits.
  [[nodiscard]] ViewPointer view() const { return *view_.read(); }
  [[nodiscard]] const std::string& listener() const noexcept { return listener_; }

 private:
  void run_intervals() noexcept;
  void end_interval() noexcept;
  [[nodiscard]] Result<void> begin_reading(const std::shared_ptr<net::UdpSocket>& socket);
  void wait_for(sync::WaitGroup& group, const std::atomic<std::int64_t>& deadline) noexcept;
  [[nodiscard]] UpstreamMetrics upstream_metrics(const std::string& upstream);

  const std::string listener_;
  metric::Leases leases_;
  const config::AggregateConfig config_;
  context::Cancelable soft_;  // ends the interval's fiber
  context::Cancelable hard_;  // ends every wait
  Aggregator aggregator_;
  sync::AtomicSnapshot<ViewPointer> view_;
  Intake intake_;
  std::vector<std::unique_ptr<Upstream>> upstreams_;
  std::unique_ptr<Entrance> entrance_;
  std::unique_ptr<TcpServer> tcp_;
  std::vector<std::shared_ptr<net::UdpSocket>> udp_;  // those that are read
  sync::WaitGroup udp_readers_;
  bool taking_ = true;                               // whether they are read
  std::optional<context::Cancelable> until_held_{};  // of the readers that there are
  sync::WaitGroup intervals_;
  sync::WaitGroup sending_;
};

/// GET /aggregate/NAME/metrics and /aggregate/NAME/json of each service, and without NAME when there is only one;
/// /aggregate lists them, and other pages below it are answered 404 with that list. None without services.
[[nodiscard]] std::vector<http::Route> pages(const std::vector<std::shared_ptr<const Service>>& services);

}  // namespace fiberd::daemon::aggregate
