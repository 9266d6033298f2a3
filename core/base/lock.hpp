#pragma once
// Lock: a small mutex for sections of a few dozen instructions inside the runtime.
//
// It blocks the thread, not the fiber, so it must never be held across a wait; the depth it keeps lets park() assert
// that. It spins briefly, then sleeps on a futex (std::atomic::wait), because with stolen CPU time the holder may be
// off the processor.
//
// What each lock guards is said at its members (thread_safety.hpp), and clang holds the code to it.
#include <atomic>
#include <cstdint>

#include "core/base/thread_locals.hpp"
#include "core/base/thread_safety.hpp"

namespace fiberd {

class FIBERD_CAPABILITY("lock") Lock {
 public:
  Lock() noexcept = default;
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  void lock() noexcept FIBERD_ACQUIRE() {
    std::uint32_t expected = 0;
    if (!state_.compare_exchange_strong(expected, 1, std::memory_order_acquire, std::memory_order_relaxed)) lock_slow();
    ++thread_locals()->lock_depth;
  }
  [[nodiscard]] bool try_lock() noexcept FIBERD_TRY_ACQUIRE(true) {
    std::uint32_t expected = 0;
    if (!state_.compare_exchange_strong(expected, 1, std::memory_order_acquire, std::memory_order_relaxed))
      return false;
    ++thread_locals()->lock_depth;
    return true;
  }
  void unlock() noexcept FIBERD_RELEASE() {
    --thread_locals()->lock_depth;
    if (state_.exchange(0, std::memory_order_release) == 2) state_.notify_one();
  }

 private:
  void lock_slow() noexcept;
  std::atomic<std::uint32_t> state_{0};  // 0 free, 1 held, 2 held and somebody may sleep
};

/// LeafLock: the same for sections that call nothing which could wait or take long, where each nanosecond counts (a
/// channel's). Giving it back is a plain store: nobody is woken, and whoever waits looks again, first at once, then
/// after short sleeps of the thread. One byte, and no depth is kept.
class FIBERD_CAPABILITY("lock") LeafLock {
 public:
  LeafLock() noexcept = default;
  LeafLock(const LeafLock&) = delete;
  LeafLock& operator=(const LeafLock&) = delete;

  void lock() noexcept FIBERD_ACQUIRE() {
    if (held_.exchange(true, std::memory_order_acquire)) [[unlikely]]
      lock_slow();
  }
  void unlock() noexcept FIBERD_RELEASE() { held_.store(false, std::memory_order_release); }

 private:
  void lock_slow() noexcept;
  std::atomic<bool> held_{false};
};

template <class L>
class [[nodiscard]] FIBERD_SCOPED_CAPABILITY BasicLockGuard {
 public:
  explicit BasicLockGuard(L& lock) noexcept FIBERD_ACQUIRE(lock) : lock_(lock) { lock_.lock(); }
  ~BasicLockGuard() FIBERD_RELEASE() { lock_.unlock(); }
  BasicLockGuard(const BasicLockGuard&) = delete;
  BasicLockGuard& operator=(const BasicLockGuard&) = delete;

 private:
  L& lock_;
};
using LockGuard = BasicLockGuard<Lock>;
using LeafLockGuard = BasicLockGuard<LeafLock>;

}  // namespace fiberd
