#pragma once
// Semaphore: weighted, first come, first served, after golang.org/x/sync/semaphore.
#include <cstdint>
#include <system_error>

#include "core/context/context.hpp"
#include "core/sync/errc.hpp"
#include "core/sync/wait_queue.hpp"

namespace fiberd::sync {

/// `units` can be out at once. A waiter for many units is not overtaken by later ones that want few: it would starve.
/// release() and try_acquire(): any thread; waiting only on fibers. WaitReason::semaphore.
class Semaphore {
 public:
  explicit Semaphore(std::uint64_t units) noexcept : units_(units), free_(units) {}
  Semaphore(const Semaphore&) = delete;
  Semaphore& operator=(const Semaphore&) = delete;

  /// Waits for `n` units. Error errc::too_many when there are not as many at all: nothing is waited for.
  std::error_code acquire(std::uint64_t n = 1) noexcept { return acquire_for(n, nullptr); }
  /// Also context::errc; then no unit was taken.
  [[nodiscard]] std::error_code acquire(const context::Context& ctx, std::uint64_t n = 1) noexcept {
    return acquire_for(n, &ctx);
  }
  /// Never waits. False when they are not free, or others wait for them.
  [[nodiscard]] bool try_acquire(std::uint64_t n = 1) noexcept;
  /// Error errc::too_many when more come back than are out; nothing changes, and it is a BUG.
  std::error_code release(std::uint64_t n = 1) noexcept;

  /// A snapshot.
  [[nodiscard]] std::uint64_t available() const noexcept;

 private:
  struct Entry : Waiter {
    std::uint64_t n = 0;
  };
  [[nodiscard]] std::error_code acquire_for(std::uint64_t n, const context::Context* ctx) noexcept;
  void grant(WakeChain& chain) noexcept;

  const std::uint64_t units_;
  mutable Lock lock_;
  std::uint64_t free_;
  BasicWaitQueue<Entry> queue_;
};

}  // namespace fiberd::sync
