#pragma once
// QueueSizes: how much the kernel holds for streams, sorted by size, to find those that hold the most. No list of them:
// it is asked for when memory is out.
#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace fiberd::net {

class QueueSizes {
 public:
  static constexpr std::size_t kLeast = 4096;  ///< less than a page is not counted: it frees nothing

  void add(std::size_t bytes) noexcept {
    if (bytes >= kLeast) sums_[class_of(bytes)] += bytes;
  }
  /// Streams that hold so much or more hold `wanted` bytes together, as far as there are so many; nothing is counted:
  /// SIZE_MAX. A power of two.
  [[nodiscard]] std::size_t least_of(std::uint64_t wanted) const noexcept {
    std::size_t least = SIZE_MAX;
    std::uint64_t sum = 0;
    for (std::size_t i = sums_.size(); i-- > 0 && sum < wanted;) {
      if (sums_[i] == 0) continue;
      sum += sums_[i];
      least = std::size_t{1} << i;
    }
    return least;
  }

 private:
  static std::size_t class_of(std::size_t bytes) noexcept {
    return std::min<std::size_t>(std::bit_width(bytes) - 1, 31);
  }
  std::array<std::uint64_t, 32> sums_{};
};

}  // namespace fiberd::net
