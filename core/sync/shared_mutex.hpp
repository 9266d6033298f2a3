#pragma once
// SharedMutex: Go's sync.RWMutex for fibers: many readers or one writer.
//
// A small state under a Lock, and one queue for both: whoever comes while anybody waits waits behind them. So a writer
// is not starved by readers that keep coming, nor readers by writers. Locks are handed over: a writer's unlock grants
// all readers at the head of the queue, or one writer.
#include <cstdint>
#include <mutex>
#include <shared_mutex>
#include <system_error>

#include "core/base/result.hpp"
#include "core/context/context.hpp"
#include "core/sync/errc.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

/// Not recursive, not even for readers (a writer may be waiting between the two). Works with std::unique_lock and
/// std::shared_lock. Waiting only on fibers. WaitReason::shared_mutex.
class SharedMutex {
 public:
  SharedMutex() noexcept = default;
  ~SharedMutex() {
    if (writer_ != 0 || readers_ != 0) [[unlikely]]
      report_early_death("a shared mutex died while it was locked");
    queue_.dies("a shared mutex died while fibers waited for it");
  }
  SharedMutex(const SharedMutex&) = delete;
  SharedMutex& operator=(const SharedMutex&) = delete;

  void lock() noexcept { (void)acquire(true, nullptr); }
  /// Success: locked. Otherwise context::errc, and not locked.
  [[nodiscard]] Result<void> lock(const context::Context& ctx) noexcept { return as_result(acquire(true, &ctx)); }
  [[nodiscard]] bool try_lock() noexcept;
  /// Error errc::not_owner when the calling fiber is not the writer; nothing changes, and it is a BUG.
  Result<void> unlock() noexcept;

  void lock_shared() noexcept { (void)acquire(false, nullptr); }
  [[nodiscard]] Result<void> lock_shared(const context::Context& ctx) noexcept {
    return as_result(acquire(false, &ctx));
  }
  [[nodiscard]] bool try_lock_shared() noexcept;
  /// lock(ctx) and lock_shared(ctx), and what unlocks it.
  [[nodiscard]] Result<std::unique_lock<SharedMutex>> guard(const context::Context& ctx) noexcept {
    if (const std::error_code error = error_of(lock(ctx))) return fail(error);
    return std::unique_lock<SharedMutex>(*this, std::adopt_lock);
  }
  [[nodiscard]] Result<std::shared_lock<SharedMutex>> shared_guard(const context::Context& ctx) noexcept {
    if (const std::error_code error = error_of(lock_shared(ctx))) return fail(error);
    return std::shared_lock<SharedMutex>(*this, std::adopt_lock);
  }
  /// Error errc::not_owner when there is no reader; nothing changes, and it is a BUG. Which fiber it is is not checked.
  Result<void> unlock_shared() noexcept;

 private:
  struct Entry : Waiter {
    bool writer = false;
    std::int64_t waited_since = 0;  ///< for the mutex profile
  };
  [[nodiscard]] std::error_code acquire(bool writer, const context::Context* ctx) noexcept;
  /// Under the lock: grants to the head of the queue what can be granted now. Since when the first of them has waited,
  /// where that is asked for; else 0.
  std::int64_t grant(WakeChain& chain) noexcept FIBERD_REQUIRES(lock_);

  Lock lock_;
  std::uint32_t readers_ FIBERD_GUARDED_BY(lock_) = 0;
  std::uint64_t writer_ FIBERD_GUARDED_BY(lock_) = 0;  // its fiber's index; 2^32: a thread without a fiber
  BasicWaitQueue<Entry> queue_ FIBERD_GUARDED_BY(lock_);
};

}  // namespace fiberd::sync
