#pragma once
// SocketSet: the addresses that are bound, and which listener of the configuration each of them is.
//
// Sockets outlive configurations: what the next one has under the same listener's name and the same address, it finds
// here and keeps, with the clients in its queue. A socket is what cannot be had twice; so it is taken last when a
// configuration is provisioned, and given back only when nobody serves it any more.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/metric/registry.hpp"
#include "core/net/listener.hpp"

namespace fiberd::daemon {

/// One address of one listener.
struct BoundSocket {
  BoundSocket(std::string of, std::string at, metric::Registry& registry)
      : listener(std::move(of)), address(std::move(at)), leases(registry) {}
  std::string listener;
  std::string address;    ///< as the configuration has it: port 0 stays 0
  metric::Leases leases;  ///< of what the socket counts: goes after it
  std::unique_ptr<net::Listener> socket;
  bool started = false;
};

class SocketSet {
 public:
  /// Null when there is none.
  [[nodiscard]] std::shared_ptr<BoundSocket> find(std::string_view listener, std::string_view address) const;
  void add(std::shared_ptr<BoundSocket> socket) { all_.push_back(std::move(socket)); }
  void remove(std::string_view listener);
  [[nodiscard]] bool contains(const BoundSocket& socket) const noexcept;
  [[nodiscard]] const std::vector<std::shared_ptr<BoundSocket>>& all() const noexcept { return all_; }

 private:
  std::vector<std::shared_ptr<BoundSocket>> all_;
};

/// The counters of a socket; valid as long as the leases.
[[nodiscard]] net::ListenerMetrics make_listener_metrics(const std::string& listener, metric::Leases& leases);

}  // namespace fiberd::daemon
