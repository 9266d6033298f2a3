#pragma once
// VerdictCache: that a password was right a moment ago, so that a browser which sends it with each request costs one
// slow hash a minute and not one a request.
//
// A fixed table of 4-way sets, one lock for all: a look-up is a few comparisons. What is kept of user and password is
// 128 bits of two keyed hashes (SipHash-2-4) whose keys are drawn for this table and go nowhere: neither can be found
// from it, and nobody can find another pair with the same bits. The oldest of a set makes room.
//
// Yes and no are kept in tables of their own: whoever tries passwords fills the one of noes and drives nobody out of
// the other.
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "core/base/lock.hpp"

namespace fiberd::http {

/// Any thread; never parks.
class VerdictCache {
 public:
  struct Key {
    std::uint64_t high = 0;
    std::uint64_t low = 0;
    friend constexpr bool operator==(const Key&, const Key&) noexcept = default;
  };

  /// Room for at least `entries` of each verdict, 24 bytes each; 0: nothing is kept. Throws std::bad_alloc.
  VerdictCache(std::size_t entries, std::chrono::nanoseconds yes_for, std::chrono::nanoseconds no_for);

  /// `generation` tells apart what was said by different files.
  [[nodiscard]] Key key(std::string_view user, std::string_view password, std::uint64_t generation) const;
  [[nodiscard]] std::optional<bool> find(const Key& key, std::int64_t now) noexcept;
  void keep(const Key& key, bool verdict, std::int64_t now) noexcept;

 private:
  static constexpr std::size_t kWays = 4;
  struct Entry {
    Key key;
    std::int64_t until = 0;  // 0: empty
  };
  using Set = std::array<Entry, kWays>;
  [[nodiscard]] Entry* entry_of(std::vector<Set>& sets, const Key& key) noexcept;

  std::array<std::uint64_t, 4> secret_{};
  std::chrono::nanoseconds yes_for_;
  std::chrono::nanoseconds no_for_;
  Lock lock_;
  std::vector<Set> yes_ FIBERD_GUARDED_BY(lock_);
  std::vector<Set> no_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::http
