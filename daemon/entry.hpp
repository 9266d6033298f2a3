#pragma once
// Entry: one configured listener of the daemon, or its admin listener, with what serves it.
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "core/http/open_files.hpp"
#include "core/http/reclaim.hpp"
#include "core/http/server.hpp"
#include "core/metric/registry.hpp"
#include "core/net/listener.hpp"
#include "daemon/http_service.hpp"
#include "daemon/services/aggregate/service.hpp"
#include "daemon/services/tcp_server.hpp"

namespace fiberd::daemon {

/// One configured listener with what serves it.
struct Entry {
  std::string name;
  bool ipv6_only = false;
  std::unique_ptr<net::Listener> listener;
  HttpService http;                // when it is HTTP
  std::unique_ptr<TcpServer> tcp;  // when it is TCP
  std::shared_ptr<http::Gate> tcp_gate;
  std::vector<metric::CallbackHandle> tcp_gate_metrics;
  std::unique_ptr<aggregate::Service> aggregate;  // when it aggregates; listener is null then without TCP

  const std::vector<http::Server*>* all_http = nullptr;  // of the daemon, this one included
  http::OpenFiles* open_files = nullptr;                 // of the daemon

  static std::size_t make_room(void* argument, net::Shortage shortage, std::size_t wanted) noexcept {
    const auto& e = *static_cast<const Entry*>(argument);
    if (shortage == net::Shortage::descriptors) {
      // First the files that nobody is sending: they cost nobody anything.
      const std::size_t closed = e.open_files->reclaim(wanted);
      return closed >= wanted ? closed : closed + http::reclaim(*e.all_http, wanted - closed);
    }
    http::Server* const own = e.http.server.get();
    return own != nullptr ? http::reclaim({&own, 1}, wanted) : 0;
  }
  static void on_http(void* argument, int fd, void* place, const net::Endpoint& client) noexcept {
    static_cast<Entry*>(argument)->http.server->serve(fd, &net::Listener::release, place, client);
  }

  [[nodiscard]] std::size_t connections() const noexcept { return listener != nullptr ? listener->connections() : 0; }

  std::error_code start() {
    if (aggregate != nullptr) return error_of(aggregate->start(listener.get()));
    if (tcp != nullptr) return error_of(listener->start(&TcpServer::on_accept, tcp.get()));
    return error_of(listener->start(&on_http, this));
  }
  std::size_t stop(const std::atomic<std::int64_t>& deadline) {
    if (aggregate != nullptr) return aggregate->stop(deadline);
    return tcp != nullptr ? tcp->stop(deadline) : http.server->stop(deadline);
  }
};

}  // namespace fiberd::daemon
