#include "core/runtime/asymmetric_barrier.hpp"

#include <linux/membarrier.h>
#include <sched.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/base/bug.hpp"

namespace fiberd::runtime {

std::atomic<bool> AsymmetricBarrier::enabled_{false};

void AsymmetricBarrier::enable() noexcept {
  if (enabled_.load(std::memory_order_acquire)) return;
  if (::syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) == 0)
    enabled_.store(true, std::memory_order_release);
}

void AsymmetricBarrier::heavy() noexcept {
  if (!enabled_.load(std::memory_order_acquire)) return;
  // Cannot fail once registered (membarrier(2)).
  (void)FIBERD_BUG_IF(::syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0);
}

void AsymmetricBarrier::wait_until_false(const std::atomic<bool>& flag) noexcept {
  while (flag.load(std::memory_order_acquire)) ::sched_yield();
}

}  // namespace fiberd::runtime
