#pragma once
// SocketSet: the addresses that are bound.
//
// Sockets outlive configurations: what the next one wants to listen at, it finds here by its address and keeps, with
// the clients in its queue, whichever listener had it before. So listeners may be renamed, become something else or
// swap their addresses: the socket passes, and who is served by it is replaced (net::Listener::replace). Only where any
// port will do is the address no name: that socket stays with its listener. A socket is what cannot be had twice; so it
// is taken last when a configuration is provisioned, and given back only when nobody serves it any more.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/net/listener.hpp"

namespace fiberd::daemon {

/// The same address however it is written; empty for one with any port, which nobody can claim, and for none.
[[nodiscard]] std::string normal_address(const std::string& address);

/// One address that is listened at.
struct BoundSocket {
  std::string listener;  ///< whose it is; changes when it passes to another
  std::string address;   ///< as the configuration had it when it was bound: port 0 stays 0
  bool ipv6_only = false;
  std::unique_ptr<net::Listener> socket{};
  bool started = false;
  net::Keeper keeper = net::Keeper::nobody;  ///< who has it beside this process, but for one that it is handed over to
  bool handed = false;                       ///< by another process, which serves until it says that we do
};

class SocketSet {
 public:
  /// The one at `address` that is not in `taken`, or null: also where its file is not there any more, which nobody can
  /// connect to. Where any port will do, one that is `listener`'s.
  [[nodiscard]] std::shared_ptr<BoundSocket> find(std::string_view listener, const std::string& address,
                                                  const SocketSet& taken) const;
  /// Whether there is one for who asks so.
  [[nodiscard]] bool has(std::string_view listener, const std::string& address) const;
  void add(std::shared_ptr<BoundSocket> socket) { all_.push_back(std::move(socket)); }
  void remove(const BoundSocket& socket);
  [[nodiscard]] bool contains(const BoundSocket& socket) const noexcept;
  [[nodiscard]] const std::vector<std::shared_ptr<BoundSocket>>& all() const noexcept { return all_; }

 private:
  std::vector<std::shared_ptr<BoundSocket>> all_;
};

}  // namespace fiberd::daemon
