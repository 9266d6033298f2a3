#pragma once
// Where fibers wait for each other, and who lets them wait. Waits of the network and of the clock do not come by here,
// so requests pay nothing for it; a wait for a fiber pays a load and a branch while it is off.
//
// As Go's: a wait of d ns is sampled with the probability d / rate, and then stands for rate ns and rate / d waits; a
// longer one is always, for itself. The stack is the waiter's, after it was woken: on its own stack, where nobody else
// need hold it still. The mutex profile has the stack of who gave the lock back, and the time that the first in the
// queue had waited by then: it was that one's doing.
#include <atomic>
#include <cstdint>

#include "core/fiber/stack_table.hpp"
#include "core/runtime/wait.hpp"

namespace fiberd::runtime {

namespace detail {
inline std::atomic<std::int64_t> block_rate{0};
inline std::atomic<std::uint32_t> mutex_fraction{0};
[[nodiscard]] std::int64_t wait_began() noexcept;
void wait_is_over(std::int64_t began) noexcept;
void gave_back(WaitReason lock, std::int64_t waited_since) noexcept;
}  // namespace detail

/// Lives around the wait of the calling fiber. What it counts for is the reason of its last wait.
class BlockTimer {
 public:
  BlockTimer() noexcept {
    if (detail::block_rate.load(std::memory_order_relaxed) != 0) [[unlikely]]
      began_ = detail::wait_began();
  }
  ~BlockTimer() {
    if (began_ != 0) [[unlikely]]
      detail::wait_is_over(began_);
  }
  BlockTimer(const BlockTimer&) = delete;
  BlockTimer& operator=(const BlockTimer&) = delete;

 private:
  std::int64_t began_ = 0;
};

/// For the place in a lock's queue: when the wait for it began, 0 while the mutex profile is off.
[[nodiscard]] inline std::int64_t contention_began() noexcept {
  return detail::mutex_fraction.load(std::memory_order_relaxed) != 0 ? detail::wait_began() : 0;
}
/// By whoever gave it back, behind all locks: somebody had waited for it since then.
inline void contention_is_over(WaitReason lock, std::int64_t waited_since) noexcept {
  if (waited_since != 0) [[unlikely]]
    detail::gave_back(lock, waited_since);
}

/// What both count: sums of fiber::StackTable. The tag is the WaitReason.
enum BlockSum : std::uint8_t { kContentions, kDelay };  ///< in 1 / kContention of one; ns
inline constexpr std::uint64_t kContention = 256;
[[nodiscard]] const fiber::StackTable& block_stacks() noexcept;
[[nodiscard]] const fiber::StackTable& mutex_stacks() noexcept;
/// How many samples there were.
[[nodiscard]] std::uint64_t block_samples() noexcept;
[[nodiscard]] std::uint64_t mutex_samples() noexcept;

}  // namespace fiberd::runtime
