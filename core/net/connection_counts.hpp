#pragma once
// ConnectionCounts: how many connections somebody serves, together and of each client address.
//
// They belong to who serves and not to a socket: one that listens at several addresses has one limit over all of them,
// a socket that is closed leaves its connections counted, and one that passes to somebody else leaves them behind.
#include <atomic>
#include <cstddef>

#include "core/metric/metrics.hpp"
#include "core/net/address_counts.hpp"
#include "core/net/endpoint.hpp"

namespace fiberd::net {

/// Thread-safe; never parks. Outlives its connections: each has a place in it, which is given back once.
class ConnectionCounts {
 public:
  /// `open`, if given, follows the count.
  explicit ConnectionCounts(metric::Gauge* open = nullptr) noexcept : gauge_(open) {}
  ConnectionCounts(const ConnectionCounts&) = delete;
  ConnectionCounts& operator=(const ConnectionCounts&) = delete;

  [[nodiscard]] std::size_t open() const noexcept { return open_.load(std::memory_order_relaxed); }
  /// One more, if there are fewer than `most`.
  [[nodiscard]] bool take(std::size_t most) noexcept {
    if (open_.fetch_add(1, std::memory_order_relaxed) >= most) {
      open_.fetch_sub(1, std::memory_order_relaxed);
      return false;
    }
    if (gauge_ != nullptr) gauge_->add();
    return true;
  }
  /// take(), taken back.
  void release() noexcept {
    open_.fetch_sub(1, std::memory_order_relaxed);
    if (gauge_ != nullptr) gauge_->sub();
  }
  /// The place of a connection that is counted of no address.
  [[nodiscard]] AddressCounts::Entry& anybody() noexcept { return anybody_; }
  /// One of `client`'s, if it has fewer than `most`; else null.
  [[nodiscard]] AddressCounts::Entry* take_of(const Endpoint& client, std::size_t most) noexcept {
    return addresses_.take(client, most);
  }
  /// take() and, as far as the entry is an address's, take_of() are taken back.
  static void release(AddressCounts::Entry& entry) noexcept {
    ConnectionCounts& counts = owner_of(entry);
    if (entry.table != nullptr) entry.table->give_back(entry);
    counts.release();
  }
  [[nodiscard]] static ConnectionCounts& owner_of(const AddressCounts::Entry& entry) noexcept {
    return *static_cast<ConnectionCounts*>(entry.owner);
  }

 private:
  std::atomic<std::size_t> open_{0};
  AddressCounts addresses_{this};
  AddressCounts::Entry anybody_{this};
  metric::Gauge* const gauge_;
};

}  // namespace fiberd::net
