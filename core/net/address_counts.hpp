#pragma once
// AddressCounts: how many connections each client address has open.
#include <array>
#include <cstddef>
#include <cstdint>
#include <unordered_map>

#include "core/base/lock.hpp"
#include "core/net/endpoint.hpp"

namespace fiberd::net {

/// Thread-safe; never parks. Memory is bounded by the connections that are open. An IPv4 address is itself, also when
/// it is mapped into IPv6; an IPv6 client is its /64, the least that a site is given (RFC 6177).
class AddressCounts {
 public:
  using Key = std::array<std::uint64_t, 2>;
  struct Entry {
    void* owner = nullptr;           ///< as given to the constructor
    AddressCounts* table = nullptr;  ///< nullptr: counts nothing
    Key key{};
    std::size_t open = 0;
  };

  explicit AddressCounts(void* owner);

  /// One more connection of `client`; nullptr when it has `most` already, or memory is out. The entry stays where it is
  /// until its last connection is given back.
  [[nodiscard]] Entry* take(const Endpoint& client, std::size_t most) noexcept;
  void give_back(Entry& entry) noexcept;

  [[nodiscard]] static Key key_of(const Endpoint& client) noexcept;
  /// Addresses with a connection now.
  [[nodiscard]] std::size_t size() noexcept;

 private:
  struct Hash {
    std::uint64_t seed;
    std::size_t operator()(const Key& key) const noexcept;
  };
  void* const owner_;
  Lock lock_;
  std::unordered_map<Key, Entry, Hash> entries_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::net
