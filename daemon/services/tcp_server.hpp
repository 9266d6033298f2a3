#pragma once
// TcpServer: a fiber per connection for a TCP service, with an orderly stop.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <memory>
#include <string>
#include <utility>

#include "core/base/clock.hpp"
#include "core/base/intrusive_list.hpp"
#include "core/base/lock.hpp"
#include "core/context/context.hpp"
#include "core/http/gate.hpp"
#include "core/metric/metrics.hpp"
#include "core/net/listener.hpp"
#include "core/net/tcp_stream.hpp"
#include "daemon/handlers.hpp"

namespace fiberd::daemon {

/// Each may be null.
struct TcpServerMetrics {
  metric::Counter* refused = nullptr;     ///< connections for which no fiber could be had
  metric::Counter* exceptions = nullptr;  ///< that left a handler
};

class TcpServer {
 public:
  using Service = void (*)(net::TcpStream& stream, std::chrono::nanoseconds idle_timeout) noexcept;

  TcpServer(Service service, std::chrono::nanoseconds idle_timeout, const TcpServerMetrics& metrics) noexcept
      : service_(service), idle_timeout_(idle_timeout), metrics_(metrics) {}
  /// Serves with a program's own handler, called `name` in logs. Throws std::bad_alloc.
  TcpServer(std::string name, std::shared_ptr<TcpHandler> handler, const TcpServerMetrics& metrics)
      : name_(std::move(name)),
        handler_(std::move(handler)),
        all_(context::with_cancel(context::background())),
        metrics_(metrics) {}
  ~TcpServer() { all_.cancel(); }
  TcpServer(const TcpServer&) = delete;
  TcpServer& operator=(const TcpServer&) = delete;

  /// What sessions pass before they are served; before the first of them. May be null.
  void set_gate(std::shared_ptr<http::Gate> gate) noexcept { gate_ = std::move(gate); }

  /// As net::Listener::OnAccept, with this object as its argument.
  static void on_accept(void* server, int fd, void* place) noexcept;

  /// Reading ends for all sessions: they finish what they have read and close. Parks until all are gone; at `deadline`
  /// (monotonic ns, which may be moved meanwhile) the rest is cut, and the contexts of handlers are done. Returns how
  /// many were cut. On a fiber.
  std::size_t stop(const std::atomic<std::int64_t>& deadline);

 private:
  struct Session : ListHook {
    Session(TcpServer& s, net::TcpStream t, void* p) noexcept : server(s), stream(std::move(t)), place(p) {
      if (s.handler_ == nullptr) stream.set_single_owner();  // a program's may close it while stop() looks at it
    }
    TcpServer& server;
    net::TcpStream stream;
    void* place;  // the listener's
  };
  void accept(int fd, void* place) noexcept;
  void serve(Session& session) noexcept;
  void serve_now(Session& session) noexcept;
  void call_handler(Session& session) noexcept;
  void end(Session* session) noexcept;

  const Service service_ = nullptr;
  const std::chrono::nanoseconds idle_timeout_{0};
  const std::string name_;
  const std::shared_ptr<TcpHandler> handler_;  // instead of service_
  const context::Cancelable all_;              // the parent of every connection's context
  const TcpServerMetrics metrics_;
  std::shared_ptr<http::Gate> gate_;
  std::atomic<bool> stopping_{false};
  std::atomic<std::size_t> count_{0};
  Lock lock_;
  List<Session> sessions_;
};

}  // namespace fiberd::daemon
