#pragma once
// Pressure: whose work is turned away at present because memory runs short, and how often that was. One who watches
// the memory says it; those who would take on work ask before they spend anything on it, and those who are in the
// middle of it before they take another buffer.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/flow/priority.hpp"

namespace fiberd::flow {

/// Thread-safe; never parks.
class Pressure {
 public:
  /// Asked by may_grow().
  using Grow = bool (*)(void* argument, std::size_t bytes) noexcept;
  Pressure() noexcept = default;
  Pressure(Grow grow, void* argument) noexcept : grow_(grow), argument_(argument) {}
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
  /// Whether there is room for `bytes` more of what has begun. False: not now; who waits a while asks again.
  [[nodiscard]] bool may_grow(std::size_t bytes) noexcept { return grow_ == nullptr || grow_(argument_, bytes); }
  void count(Priority priority) noexcept {
    counts_[static_cast<std::size_t>(priority)].fetch_add(1, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t counted(Priority priority) const noexcept {
    return counts_[static_cast<std::size_t>(priority)].load(std::memory_order_relaxed);
  }

  /// Seconds that who was turned away is told to wait.
  static constexpr const char* kRetryAfter = "2";

 private:
  const Grow grow_ = nullptr;
  void* const argument_ = nullptr;
  std::atomic<std::uint8_t> floor_{0};
  std::array<std::atomic<std::uint64_t>, kPriorities> counts_{};
};

}  // namespace fiberd::flow
