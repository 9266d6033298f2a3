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

class [[nodiscard]] LockGuard {
 public:
  explicit LockGuard(Lock& lock) noexcept : lock_(lock) { lock_.lock(); }
  ~LockGuard() { lock_.unlock(); }
  LockGuard(const LockGuard&) = delete;
  LockGuard& operator=(const LockGuard&) = delete;

 private:
  Lock& lock_;
};

}  // namespace fiberd
