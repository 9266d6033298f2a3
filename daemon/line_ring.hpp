#pragma once
// LineRing: a bounded queue of lines between those who have something to say and the thread that writes it.
#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "core/base/cache_line.hpp"

namespace fiberd::daemon {

/// A byte queue for one producer and one consumer at a time: two atomics, no lock. What is pushed is whole lines.
class LineRing {
 public:
  static constexpr std::uint32_t kSize = 1U << 20U;

  /// For the producer.
  [[nodiscard]] std::size_t room() const noexcept {
    return kSize - (tail_.load(std::memory_order_relaxed) - head_.load(std::memory_order_acquire));
  }
  /// False: there is no room for all of it, and nothing was taken.
  [[nodiscard]] bool push(const char* lines, std::size_t size) noexcept {
    if (room() < size) return false;
    const std::uint32_t t = tail_.load(std::memory_order_relaxed);
    const std::uint32_t at = t % kSize;
    const std::size_t first = std::min<std::size_t>(size, kSize - at);
    std::memcpy(bytes_.data() + at, lines, first);
    std::memcpy(bytes_.data(), lines + first, size - first);
    tail_.store(t + static_cast<std::uint32_t>(size), std::memory_order_release);
    return true;
  }

  /// Moves up to `room` bytes: as many whole lines as that is, or a piece of a line that is longer.
  std::size_t take(char* out, std::size_t room) noexcept {
    const std::uint32_t h = head_.load(std::memory_order_relaxed);
    std::size_t n = std::min<std::size_t>(tail_.load(std::memory_order_acquire) - h, room);
    const std::uint32_t at = h % kSize;
    const std::size_t first = std::min<std::size_t>(n, kSize - at);
    std::memcpy(out, bytes_.data() + at, first);
    std::memcpy(out + first, bytes_.data(), n - first);
    for (std::size_t end = n; end != 0; --end)
      if (out[end - 1] == '\n') {
        n = end;
        break;
      }
    head_.store(h + static_cast<std::uint32_t>(n), std::memory_order_release);
    return n;
  }

  [[nodiscard]] bool empty() const noexcept {
    return head_.load(std::memory_order_acquire) == tail_.load(std::memory_order_acquire);
  }
  /// By anybody while nobody produces.
  [[nodiscard]] std::uint64_t lines() const noexcept {
    std::uint64_t count = 0;
    const std::uint32_t t = tail_.load(std::memory_order_acquire);
    for (std::uint32_t i = head_.load(std::memory_order_acquire); i != t; ++i)
      count += bytes_[i % kSize] == '\n' ? 1U : 0U;
    return count;
  }

 private:
  alignas(kCacheLine) std::atomic<std::uint32_t> head_{0};  // consumer's
  alignas(kCacheLine) std::atomic<std::uint32_t> tail_{0};  // producer's
  std::array<char, kSize> bytes_;
};

}  // namespace fiberd::daemon
