#pragma once
// HttpServer: the connections of one HTTP listener for as long as it lives, over all configurations, with what counts
// them.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/http/server.hpp"
#include "core/metric/registry.hpp"
#include "core/metric/status_counters.hpp"
#include "core/net/listener.hpp"
#include "core/net/tcp_stream.hpp"
#include "daemon/services/entrance.hpp"
#include "daemon/services/queues.hpp"
#include "daemon/services/tls_entrance.hpp"

namespace fiberd::daemon {

/// The counters of connections; valid as long as the leases.
[[nodiscard]] http::ServerMetrics make_server_metrics(const std::string& listener, metric::Leases& leases);

/// Of a listener's connections, or of the admin's.
enum class Whose : std::uint8_t { listener, admin };

/// What a route counts with: who looks at the daemon does not count as served traffic.
[[nodiscard]] metric::StatusFamilies status_families(Whose whose, metric::Registry& registry);

class HttpServer final : public Queues {
 public:
  /// Throws as Registry does.
  HttpServer(Whose whose, const std::string& listener, metric::Registry& registry);
  ~HttpServer() override;

  /// Requests that begin from now on are answered by `site`; the first call makes the server. Throws std::bad_alloc.
  void use(std::shared_ptr<const http::Site> site);
  /// Null before the first use().
  [[nodiscard]] http::Server* get() const noexcept { return server_.get(); }
  void begin_stop() noexcept {
    if (server_ != nullptr) server_->begin_stop();
  }
  /// Connections that are accepted from now on are encrypted so, or not. Behind use(); on a fiber, or before there is
  /// one. Throws as Registry does.
  void encrypt(const Encryption& encryption);
  /// As http::Server::stop.
  std::size_t stop(const std::atomic<std::int64_t>& deadline) {
    entrance_.drain(deadline);
    if (tls_ != nullptr) tls_->acceptor().drain(deadline);
    return server_ != nullptr ? server_->stop(deadline) : 0;
  }
  void measure(net::QueueSizes& sizes) noexcept override {
    if (server_ != nullptr) server_->measure_queues(sizes);
  }
  std::size_t cut(std::size_t least, std::uint64_t& wanted) noexcept override {
    return server_ != nullptr ? server_->cut_queues(least, wanted) : 0;
  }
  /// Ends up to `most` TLS handshakes that last too long, for others. Thread-safe; never parks. Returns how many.
  std::size_t end_handshakes(std::size_t most) noexcept;
  [[nodiscard]] Entrance& entrance() noexcept { return entrance_; }
  /// As net::OnAccept; the argument is one of these.
  static void on_accept(void* server, net::Admitted&& connection) noexcept;
  /// As net::OnStream.
  static void on_stream(void* server, net::TcpStream&& stream, net::Place&& place,
                        const net::Endpoint& client) noexcept;

 private:
  const Whose whose_;
  const std::string listener_;
  metric::Leases leases_;
  Entrance entrance_;
  std::unique_ptr<http::Server> server_;
  std::unique_ptr<TlsEntrance> tls_;             // since a configuration had it; behind it goes what it hands over to
  std::atomic<TlsEntrance*> encrypts_{nullptr};  // tls_, while connections are encrypted
  std::atomic<TlsEntrance*> reclaims_{nullptr};  // tls_, once there is one
};

}  // namespace fiberd::daemon
