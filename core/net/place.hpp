#pragma once
// Place: what a connection that is let in takes among the counted ones, given back when the place is destroyed.
#include <cstddef>
#include <utility>

#include "core/net/connection_counts.hpp"

namespace fiberd::net {

/// Move-only, one pointer. Its ConnectionCounts must outlive it. Not thread-safe as an object; never parks.
class Place {
 public:
  /// Counts nothing: of a connection that no listener has let in.
  Place() noexcept = default;
  /// One that has been taken of its ConnectionCounts.
  explicit Place(AddressCounts::Entry& entry) noexcept : entry_(&entry) {}
  Place(Place&& other) noexcept : entry_(std::exchange(other.entry_, nullptr)) {}
  Place& operator=(Place&& other) noexcept {
    if (this != &other) {
      give_back();
      entry_ = std::exchange(other.entry_, nullptr);
    }
    return *this;
  }
  Place(const Place&) = delete;
  Place& operator=(const Place&) = delete;
  ~Place() { give_back(); }

  /// Before the end of its life: the connection is closed.
  void give_back() noexcept {
    if (entry_ != nullptr) ConnectionCounts::release(*std::exchange(entry_, nullptr));
  }
  /// A connection that was counted of no address, and whose client has become known, counts as one of `client` from now
  /// on. False: that has `most` already, and nothing has changed.
  [[nodiscard]] bool count_of(const Endpoint& client, std::size_t most) noexcept {
    if (entry_ == nullptr) return true;
    AddressCounts::Entry* const of_client = ConnectionCounts::owner_of(*entry_).take_of(client, most);
    if (of_client == nullptr) return false;
    entry_ = of_client;
    return true;
  }

 private:
  AddressCounts::Entry* entry_ = nullptr;
};

static_assert(sizeof(Place) == sizeof(void*));

}  // namespace fiberd::net
