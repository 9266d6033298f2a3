#pragma once
// SharedMutex: Go's sync.RWMutex for fibers: many readers or one writer.
//
// A small state under a Lock, and one queue for both: whoever comes while anybody waits waits behind them. So a writer
// is not starved by readers that keep coming, nor readers by writers. Locks are handed over: a writer's unlock grants
// all readers at the head of the queue, or one writer.
#include <cstdint>
#include <system_error>

#include "core/context/context.hpp"
#include "core/sync/errc.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

/// Not recursive, not even for readers (a writer may be waiting between the two). Works with std::unique_lock and
/// std::shared_lock. Waiting only on fibers. WaitReason::mutex.
class SharedMutex {
 public:
  SharedMutex() noexcept = default;
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void lock() noexcept { (void)acquire(true, nullptr); }
  /// Success: locked. Otherwise context::errc, and not locked.
  [[nodiscard]] std::error_code lock(const context::Context& ctx) noexcept { return acquire(true, &ctx); }
  [[nodiscard]] bool try_lock() noexcept;
  /// Error errc::not_owner when the calling fiber is not the writer; nothing changes, and it is a BUG.
  std::error_code unlock() noexcept;

  void lock_shared() noexcept { (void)acquire(false, nullptr); }
  [[nodiscard]] std::error_code lock_shared(const context::Context& ctx) noexcept { return acquire(false, &ctx); }
  [[nodiscard]] bool try_lock_shared() noexcept;
  /// Error errc::not_owner when there is no reader; nothing changes, and it is a BUG. Which fiber it is is not checked.
  std::error_code unlock_shared() noexcept;

 private:
  struct Entry : Waiter {
    bool writer = false;
  };
  [[nodiscard]] std::error_code acquire(bool writer, const context::Context* ctx) noexcept;
  /// Under the lock: grants to the head of the queue what can be granted now.
  void grant(WakeChain& chain) noexcept;

  Lock lock_;
  std::uint32_t readers_ = 0;
  std::uint64_t writer_ = 0;  // its fiber's index; 2^32: a thread without a fiber
  BasicWaitQueue<Entry> queue_;
};

}  // namespace fiberd::sync
