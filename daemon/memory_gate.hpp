#pragma once
// MemoryGate: what listeners and sites ask before they take on work: the memory governor's answer, ready to be read.
#include <atomic>
#include <cstdint>

#include "core/flow/pressure.hpp"
#include "core/net/listener.hpp"

namespace fiberd::daemon {

/// Thread-safe; never parks. Outlives who asks it.
class MemoryGate {
 public:
  /// `look`: called, on any thread and inside the scheduler, when half of what there was room for has been taken. May
  /// be null.
  MemoryGate(void (*look)(void*) noexcept, void* argument) noexcept : look_(look), argument_(argument) {}
  MemoryGate(const MemoryGate&) = delete;
  MemoryGate& operator=(const MemoryGate&) = delete;

  /// By priority: what sites ask.
  [[nodiscard]] flow::Pressure& pressure() noexcept { return pressure_; }
  /// For a listener of which a connection is work by itself: closed while normal priority is shed.
  [[nodiscard]] net::AcceptGate connections() noexcept {
    return {[](void* self, const net::Endpoint&) noexcept { return static_cast<MemoryGate*>(self)->admit(true); }, this,
            false};
  }
  /// For one whose requests are answered one by one: closed only when there is no room for an answer either.
  [[nodiscard]] net::AcceptGate requests() noexcept {
    return {[](void* self, const net::Endpoint&) noexcept { return static_cast<MemoryGate*>(self)->admit(false); },
            this, false};
  }

  static constexpr std::int64_t kRequestCost = 4;
  static constexpr std::size_t kConnectionBytes = std::size_t{16} * 1024;
  /// No limit: all are let in.
  void open() noexcept { bounded_.store(false, std::memory_order_relaxed); }
  /// Until the next call `left` connections are let in, and `more` beyond these where requests are answered one by one;
  /// `last`: none at all. A connection of the latter kind counts as kRequestCost: it brings a request, with its
  /// buffers. What takes more buffers while it is under way is counted against both numbers, a connection for each
  /// kConnectionBytes.
  void bound(std::int64_t left, std::int64_t more, bool last) noexcept;

 private:
  [[nodiscard]] bool admit(bool connection_is_work) noexcept;
  [[nodiscard]] bool grow(std::size_t bytes) noexcept;
  /// What is left after `cost` connections more.
  [[nodiscard]] std::int64_t spend(std::int64_t cost) noexcept;

  void (*const look_)(void*) noexcept;
  void* const argument_;
  flow::Pressure pressure_{
      [](void* self, std::size_t bytes) noexcept { return static_cast<MemoryGate*>(self)->grow(bytes); }, this};
  std::atomic<bool> bounded_{false};
  std::atomic<bool> last_{false};
  std::atomic<bool> asked_{false};
  std::atomic<std::int64_t> left_{INT64_MAX};
  std::atomic<std::int64_t> half_{0};
  std::atomic<std::int64_t> more_{0};
};

}  // namespace fiberd::daemon
