#pragma once
// Pressure: whose work is turned away at present because memory runs short, and how often that was. One who watches
// the memory says it; those who would take on work ask before they spend anything on it.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/flow/priority.hpp"

namespace fiberd::flow {

/// Thread-safe; never parks.
class Pressure {
 public:
  Pressure() noexcept = default;
  Pressure(const Pressure&) = delete;
  Pressure& operator=(const Pressure&) = delete;

  /// Whether work of `priority` is turned away now. Whoever does so counts it.
  [[nodiscard]] bool sheds(Priority priority) const noexcept {
    return static_cast<std::uint8_t>(priority) < floor_.load(std::memory_order_relaxed);
  }
  /// The `priorities` lowest are turned away from now on: 0 … kPriorities.
  void shed(std::size_t priorities) noexcept {
    floor_.store(static_cast<std::uint8_t>(priorities < kPriorities ? priorities : kPriorities),
                 std::memory_order_relaxed);
  }
  void count(Priority priority) noexcept {
    counts_[static_cast<std::size_t>(priority)].fetch_add(1, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t counted(Priority priority) const noexcept {
    return counts_[static_cast<std::size_t>(priority)].load(std::memory_order_relaxed);
  }

  /// Seconds that who was turned away is told to wait.
  static constexpr const char* kRetryAfter = "2";

 private:
  std::atomic<std::uint8_t> floor_{0};
  std::array<std::atomic<std::uint64_t>, kPriorities> counts_{};
};

}  // namespace fiberd::flow
