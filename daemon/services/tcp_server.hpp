#pragma once
// TcpServer: a fiber per connection for a TCP service, with an orderly stop.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <functional>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/listener.hpp"
#include "core/net/tcp_stream.hpp"

namespace fiberd::daemon {

class TcpServer {
 public:
  /// Must not throw: the connection would stay open.
  using Service = std::function<void(net::TcpStream& stream, std::chrono::nanoseconds idle_timeout)>;

  /// `refused` counts connections for which no fiber could be had; may be null.
  TcpServer(Service service, std::chrono::nanoseconds idle_timeout, metric::Counter* refused)
      : service_(std::move(service)), idle_timeout_(idle_timeout), refused_(refused) {}

  /// As net::Listener::OnAccept, with this object as its argument.
  static void on_accept(void* server, int fd, void* place) noexcept;

  /// Reading ends for all sessions: they finish what they have read and close. Parks until all are gone; at `deadline`
  /// (monotonic ns, which may be moved meanwhile) the rest is cut. Returns how many were cut. On a fiber.
  std::size_t stop(const std::atomic<std::int64_t>& deadline);

 private:
  struct Session : ListHook {
    Session(TcpServer& s, net::TcpStream t, void* p) noexcept : server(s), stream(std::move(t)), place(p) {
      stream.set_single_owner();
    }
    TcpServer& server;
    net::TcpStream stream;
    void* place;  // the listener's
  };
  void accept(int fd, void* place) noexcept;
  void end(Session* session) noexcept;

  const Service service_;
  const std::chrono::nanoseconds idle_timeout_;
  metric::Counter* const refused_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> count_{0};
  Lock lock_;
  List<Session> sessions_;
};

}  // namespace fiberd::daemon
