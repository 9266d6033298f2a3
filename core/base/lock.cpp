#include "core/base/lock.hpp"

#include <time.h>

#include <algorithm>

#include "core/base/cpu_relax.hpp"

namespace fiberd {

void Lock::lock_slow() noexcept {
  for (int i = 0; i < 100; ++i) {
    std::uint32_t expected = 0;
    if (state_.load(std::memory_order_relaxed) == 0 &&
        state_.compare_exchange_weak(expected, 1, std::memory_order_acquire, std::memory_order_relaxed))
      return;
    cpu_relax();
  }
  // From here on the state says 2, so that whoever unlocks wakes one sleeper; a late 2 costs one needless wake.
  while (state_.exchange(2, std::memory_order_acquire) != 0) state_.wait(2, std::memory_order_relaxed);
}

void LeafLock::lock_slow() noexcept {
  // The holder needs nanoseconds, unless its thread was taken off the processor.
  long sleep_ns = 0;
  for (int tries = 0;; ++tries) {
    if (!held_.load(std::memory_order_relaxed) && !held_.exchange(true, std::memory_order_acquire)) return;
    if (tries < 100) {
      cpu_relax();
      continue;
    }
    sleep_ns = std::min(sleep_ns * 2 + 1'000, 1'000'000L);
    const timespec pause{0, sleep_ns};
    (void)::nanosleep(&pause, nullptr);
  }
}

}  // namespace fiberd
