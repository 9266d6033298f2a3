#include "core/runtime/block_profile.hpp"

#include <algorithm>
#include <array>

#include "core/base/clock.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/fiber/heap_sampler.hpp"
#include "core/runtime/profile_rates.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"

namespace fiberd::runtime {

// All zero, so they are no pages of memory until they are used.
static constinit fiber::StackTable blocked;
static constinit fiber::StackTable contended;

static std::atomic<std::uint64_t> times_blocked{0};
static std::atomic<std::uint64_t> times_contended{0};

std::uint64_t block_samples() noexcept { return times_blocked.load(std::memory_order_relaxed); }
std::uint64_t mutex_samples() noexcept { return times_contended.load(std::memory_order_relaxed); }

const fiber::StackTable& block_stacks() noexcept { return blocked; }
const fiber::StackTable& mutex_stacks() noexcept { return contended; }

/// The caller's callers; without itself and the function that it is called from.
[[gnu::always_inline]] static inline void add(fiber::StackTable& table, std::atomic<std::uint64_t>& samples,
                                              WaitReason reason, std::uint64_t contentions,
                                              std::uint64_t delay) noexcept {
  samples.fetch_add(1, std::memory_order_relaxed);
  std::array<std::uintptr_t, fiber::StackTable::kFrames> frames;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const fiber::StackBounds bounds = fiber::stack_bounds_above(here);
  const std::size_t n = fiber::walk_frames(here, 0, bounds.bottom, bounds.top, frames);
  fiber::StackTable::Entry& entry = table.at(std::span(frames).first(n), static_cast<std::uint32_t>(reason));
  entry.add(kContentions, contentions);
  entry.add(kDelay, delay);
}

namespace detail {

[[gnu::noinline, gnu::cold]] std::int64_t wait_began() noexcept { return std::max<std::int64_t>(monotonic_now(), 1); }

[[gnu::noinline, gnu::cold]] void wait_is_over(std::int64_t began) noexcept {
  const std::int64_t rate = block_rate.load(std::memory_order_relaxed);
  const auto delay = static_cast<std::uint64_t>(std::max<std::int64_t>(monotonic_now() - began, 1));
  const Machine* const m = Machine::current_machine();
  if (rate <= 0 || m == nullptr || m->current == nullptr) return;
  const WaitReason reason = m->current->status.reason();
  const auto period = static_cast<std::uint64_t>(rate);
  if (delay >= period) {
    add(blocked, times_blocked, reason, kContention, delay);
  } else if (random() % period < delay) {
    add(blocked, times_blocked, reason, kContention * period / delay, period);
  }
}

[[gnu::noinline, gnu::cold]] void gave_back(WaitReason lock, std::int64_t waited_since) noexcept {
  const std::uint32_t fraction = mutex_fraction.load(std::memory_order_relaxed);
  if (fraction == 0 || random() % fraction != 0) return;
  const auto delay = static_cast<std::uint64_t>(std::max<std::int64_t>(monotonic_now() - waited_since, 1));
  add(contended, times_contended, lock, kContention * fraction, delay * fraction);
}

}  // namespace detail

bool set_mem_profile_rate(std::uint64_t bytes) noexcept {
  fiber::heap_sampler().set_rate(bytes);
  return fiber::heap_is_sampled();
}
std::uint64_t mem_profile_rate() noexcept { return fiber::heap_is_sampled() ? fiber::heap_sampler().rate() : 0; }

void set_block_profile_rate(std::chrono::nanoseconds rate) noexcept {
  detail::block_rate.store(std::max<std::int64_t>(rate.count(), 0), std::memory_order_relaxed);
}
std::chrono::nanoseconds block_profile_rate() noexcept {
  return std::chrono::nanoseconds(detail::block_rate.load(std::memory_order_relaxed));
}

void set_mutex_profile_fraction(std::uint32_t fraction) noexcept {
  detail::mutex_fraction.store(fraction, std::memory_order_relaxed);
}
std::uint32_t mutex_profile_fraction() noexcept { return detail::mutex_fraction.load(std::memory_order_relaxed); }

}  // namespace fiberd::runtime
