#pragma once
// PinWord: whether the fiber that runs on a Processor may be handed off, or has been; one of three.
//
//   free      nothing is pinned here: sysmon may replace the Processor
//   pinned    the running fiber is pinned: nobody may
//   replaced  it was replaced; final until the Processor gets another place
//
// A fiber that pins itself and the one who replaces its Processor must not both succeed: the place would be served by
// two machines, and a fiber that counts on running alone there would not. Two flags cannot tell that apart without one
// of the two taking its word back; one word and a CAS on each side can.
#include <atomic>
#include <cstdint>

namespace fiberd::runtime {

template <template <class> class Atomic = std::atomic>
class BasicPinWord {
 public:
  /// The machine that has the Processor. False: it is being replaced; the fiber must go on elsewhere.
  [[nodiscard]] bool pin() noexcept {
    std::uint8_t w = kFree;
    return word_.compare_exchange_strong(w, kPinned, std::memory_order_acq_rel, std::memory_order_acquire) ||
           w == kPinned;
  }
  /// The same machine. Nothing after it was replaced.
  void unpin() noexcept {
    // Only this machine makes it pinned, and nobody else changes it then.
    if (word_.load(std::memory_order_relaxed) == kPinned) word_.store(kFree, std::memory_order_release);
  }
  /// Who replaces the Processor; under the structure lock. False: its fiber is pinned.
  [[nodiscard]] bool replace() noexcept {
    std::uint8_t w = kFree;
    return word_.compare_exchange_strong(w, kReplaced, std::memory_order_acq_rel, std::memory_order_relaxed);
  }
  void reset() noexcept { word_.store(kFree, std::memory_order_relaxed); }

  [[nodiscard]] bool pinned() const noexcept { return word_.load(std::memory_order_relaxed) == kPinned; }
  /// As a number, for one comparison at each switch: 1 when pinned, 0 when free.
  [[nodiscard]] std::uint8_t raw() const noexcept { return word_.load(std::memory_order_relaxed); }

 private:
  static constexpr std::uint8_t kFree = 0;
  static constexpr std::uint8_t kPinned = 1;
  static constexpr std::uint8_t kReplaced = 2;
  Atomic<std::uint8_t> word_{kFree};
};

using PinWord = BasicPinWord<>;

}  // namespace fiberd::runtime
