#pragma once
// Mutex: Go's sync.Mutex for fibers: the fiber waits, never the thread. For critical sections that may wait themselves;
// inside the runtime and for a few instructions there is base/lock.hpp.
//
// One word: bits 3… are the owner's fiber index, 0 for nobody, 2^32 for any thread without a fiber, so that an unlock
// by another is found out without further cost; the low bits are flags. Taking and giving back without contention is
// one CAS each.
//
// Contention, after Go's normal and starvation modes. Unlocking sets the owner to nobody and wakes the first waiter,
// which must compete: the running fiber may take the lock again many times meanwhile, and that is what makes it fast
// (handing over at every unlock would cost a switch per acquisition). At most one woken waiter competes at a time
// (kWoken): more would be woken in vain. One that was woken in vain goes back to the *front*, and when it has waited a
// millisecond it asks for a hand-over (kStarving): the next unlock makes it the owner.
//
// kWaiting and kStarving change only under `lock_`, while somebody owns the mutex or by the owner itself; so an owner
// that finds neither them nor kWoken gives the mutex back by one CAS, and a fiber that hung itself in the queue is seen
// by whoever owns the mutex then.
#include <atomic>
#include <cstdint>
#include <system_error>

#include "core/context/context.hpp"
#include "core/sync/errc.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

/// Not recursive: a fiber that locks twice waits for itself. Works with std::lock_guard, std::unique_lock,
/// std::scoped_lock. Waiting only on fibers. WaitReason::mutex.
class Mutex {
 public:
  Mutex() noexcept = default;
  Mutex(const Mutex&) = delete;
  Mutex& operator=(const Mutex&) = delete;

  void lock() noexcept {
    if (!take_free()) [[unlikely]]
      (void)lock_slow(nullptr);
  }
  /// Success: locked. Otherwise context::errc, and not locked.
  [[nodiscard]] std::error_code lock(const context::Context& ctx) noexcept {
    if (const std::error_code error = ctx.err()) return error;
    return take_free() ? std::error_code{} : lock_slow(&ctx);
  }
  [[nodiscard]] bool try_lock() noexcept;
  /// Error errc::not_owner when the calling fiber does not hold it; then nothing changes, and it is a BUG.
  std::error_code unlock() noexcept {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    if ((word & ~kFlags) == me() && nobody_to_wake(word) &&
        word_.compare_exchange_strong(word, word & kFlags, std::memory_order_release, std::memory_order_relaxed))
        [[likely]]
      return {};
    return unlock_slow();
  }
  /// A hint.
  [[nodiscard]] bool locked() const noexcept { return owner(word_.load(std::memory_order_relaxed)) != 0; }

 private:
  static constexpr std::uint64_t kWaiting = 1;   ///< the queue is not empty (or was not, a moment ago)
  static constexpr std::uint64_t kWoken = 2;     ///< a fiber from the queue competes
  static constexpr std::uint64_t kStarving = 4;  ///< the next unlock hands over
  static constexpr std::uint64_t kFlags = 7;
  static constexpr unsigned kOwnerShift = 3;
  static constexpr std::uint64_t owner(std::uint64_t word) noexcept { return word >> kOwnerShift; }
  /// A thread without a fiber is 2^32: as nobody (0) it would take the mutex without others seeing it.
  [[nodiscard]] static std::uint64_t me() noexcept {
    return (std::uint64_t{thread_locals()->fiber - 1U} + 1) << kOwnerShift;
  }
  /// No waiter, or somebody competes already and nobody starves.
  static constexpr bool nobody_to_wake(std::uint64_t word) noexcept {
    return (word & (kWaiting | kStarving)) == 0 || (word & (kWoken | kStarving)) == kWoken;
  }
  /// Also while others wait or compete: see above.
  [[nodiscard]] bool take_free() noexcept {
    std::uint64_t word = word_.load(std::memory_order_relaxed);
    return owner(word) == 0 &&
           word_.compare_exchange_strong(word, word | me(), std::memory_order_acquire, std::memory_order_relaxed);
  }
  std::error_code lock_slow(const context::Context* ctx) noexcept;
  std::error_code unlock_slow() noexcept;

  std::atomic<std::uint64_t> word_{0};
  Lock lock_;
  struct Entry : Waiter {
    bool handed = false;  ///< out of the queue as the owner
  };
  BasicWaitQueue<Entry> queue_;
};

}  // namespace fiberd::sync
