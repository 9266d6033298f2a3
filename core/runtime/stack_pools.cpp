#include "core/runtime/stack_pools.hpp"

#include <unistd.h>

#include <algorithm>
#include <memory>
#include <new>
#include <utility>

namespace fiberd::runtime {

// Large stacks are mapped few at a time (128 MiB of the usual 8), and 65,536 there may be: half a terabyte.
static constexpr std::uint32_t kLargeSlab = 16;
static constexpr std::size_t kMostLarge = std::size_t{1} << 16U;

void StackPools::configure(const fiber::StackPool::Options& normal, std::size_t small, std::size_t large) {
  fiber::StackPool::Options options = normal;
  // Who reports and who stops has stacks of normal size.
  options.reserve = options.reserve_final = 0;
  options.stack_class = fiber::StackClass::small;
  options.stack_size = small;
  options_[index(fiber::StackClass::small)] = options;
  for (const auto c : {fiber::StackClass::learnt_16, fiber::StackClass::learnt_32, fiber::StackClass::learnt_64}) {
    fiber::StackPool::Options learnt = options;
    learnt.stack_class = c;
    // Guard and emergency page come on top.
    learnt.stack_size = fiber::learnt_size(c) + 2 * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
    learnt.emergency = true;
    if (learnt.mode == fiber::GuardMode::canary) learnt.mode = fiber::GuardMode::automatic;
    options_[index(c)] = std::move(learnt);
  }
  options.stack_class = fiber::StackClass::large;
  options.stack_size = large;
  options.slab_stacks = kLargeSlab;
  options.cache_max = 0;
  options.max_stacks = std::min(options.max_stacks, kMostLarge);
  options_[index(fiber::StackClass::large)] = std::move(options);
}

Result<fiber::StackPool*> StackPools::get(fiber::StackClass c, const fiber::StackPool& normal) {
  if (fiber::StackPool* const made = find(c)) return made;
  const std::lock_guard guard(mutex_);
  std::atomic<fiber::StackPool*>& place = pools_[index(c)];
  if (fiber::StackPool* const made = place.load(std::memory_order_relaxed)) return made;
  try {
    fiber::StackPool::Options options = options_[index(c)];
    options.guard_maps = normal.guard_maps();
    auto pool = fiber::StackPool::create(options);
    if (!pool) return fail(pool.error());
    place.store(pool->get(), std::memory_order_release);
    return pool->release();
  } catch (const std::bad_alloc&) {
    return fail(std::errc::not_enough_memory);
  }
}

void StackPools::reset() noexcept {
  for (std::atomic<fiber::StackPool*>& pool : pools_) delete pool.exchange(nullptr, std::memory_order_acq_rel);
}

}  // namespace fiberd::runtime
