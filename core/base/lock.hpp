#pragma once
// Lock: a small mutex for sections of a few dozen instructions inside the runtime.
//
// It blocks the thread, not the fiber, so it must never be held across a wait; the depth it keeps lets park() assert
// that. It spins briefly, then sleeps on a futex (std::atomic::wait), because with stolen CPU time the holder may be
// off the processor.
#include <atomic>
#include <cstdint>

#include "core/base/thread_locals.hpp"

namespace fiberd {

class Lock {
 public:
  Lock() noexcept = default;
  Lock(const Lock&) = delete;
  Lock& operator=(const Lock&) = delete;

  void lock() noexcept {
    std::uint32_t expected = 0;
    if (!state_.compare_exchange_strong(expected, 1, std::memory_order_acquire, std::memory_order_relaxed)) lock_slow();
    ++thread_locals()->lock_depth;
  }
  [[nodiscard]] bool try_lock() noexcept {
    std::uint32_t expected = 0;
    if (!state_.compare_exchange_strong(expected, 1, std::memory_order_acquire, std::memory_order_relaxed))
      return false;
    ++thread_locals()->lock_depth;
    return true;
  }
  void unlock() noexcept {
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
class LeafLock {
 public:
  LeafLock() noexcept = default;
  LeafLock(const LeafLock&) = delete;
  LeafLock& operator=(const LeafLock&) = delete;

  void lock() noexcept {
    if (held_.exchange(true, std::memory_order_acquire)) [[unlikely]]
      lock_slow();
  }
  void unlock() noexcept { held_.store(false, std::memory_order_release); }

 private:
  void lock_slow() noexcept;
  std::atomic<bool> held_{false};
};

template <class L>
class [[nodiscard]] BasicLockGuard {
 public:
  explicit BasicLockGuard(L& lock) noexcept : lock_(lock) { lock_.lock(); }
  ~BasicLockGuard() { lock_.unlock(); }
  BasicLockGuard(const BasicLockGuard&) = delete;
  BasicLockGuard& operator=(const BasicLockGuard&) = delete;

 private:
  L& lock_;
};
using LockGuard = BasicLockGuard<Lock>;
using LeafLockGuard = BasicLockGuard<LeafLock>;

}  // namespace fiberd
