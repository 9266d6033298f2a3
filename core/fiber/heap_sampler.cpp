#include "core/fiber/heap_sampler.hpp"

#include <algorithm>
#include <cmath>

#include "core/base/clock.hpp"

// heap_interposer.cpp has it, where it is linked in.
extern "C" [[gnu::weak]] void fiberd_heap_interposer() noexcept;

namespace fiberd::fiber {

namespace {

constexpr std::uint64_t kWhileOff = 64 * 1024;

std::uint64_t next_random(HeapThread& thread) noexcept {
  if (thread.random == 0) {
    static std::atomic<std::uint64_t> threads{0};
    thread.random = (static_cast<std::uint64_t>(monotonic_now()) + threads.fetch_add(1, std::memory_order_relaxed)) *
                        0x9e3779b97f4a7c15U |
                    1U;
  }
  // xorshift64*
  std::uint64_t& x = thread.random;
  x ^= x >> 12U;
  x ^= x << 25U;
  x ^= x >> 27U;
  return x * 0x2545f4914f6cdd1dU;
}

/// Bytes to the next hit, at least 1.
std::uint64_t draw(HeapThread& thread, std::uint64_t rate) noexcept {
  if (rate == 1) return 0;
  const double u = static_cast<double>((next_random(thread) >> 11U) + 1) * 0x1p-53;  // (0, 1]
  return static_cast<std::uint64_t>(std::ceil(-std::log(u) * static_cast<double>(rate))) + (u == 1.0 ? 1 : 0);
}

}  // namespace

// All zero, so it is no page of memory until it is used.
constinit HeapSampler detail::process_heap;

bool heap_is_sampled() noexcept { return &fiberd_heap_interposer != nullptr; }

void HeapSampler::set_rate(std::uint64_t bytes) noexcept {
  rate_.store(std::min(bytes, kMostRate), std::memory_order_relaxed);
}

bool HeapSampler::due(HeapThread& thread, std::size_t size) noexcept {
  const bool counting = counting_.load(std::memory_order_relaxed);
  if (counting) counted_.fetch_add(1, std::memory_order_relaxed);
  const std::uint64_t rate = rate_.load(std::memory_order_relaxed);
  bool hit = false;
  std::uint64_t until = thread.left + thread.rest;
  if (rate != thread.rate) {
    // What was counted down was another process: a Poisson process may be begun anew anywhere.
    thread.rate = rate;
    until = rate != 0 ? draw(thread, rate) : 0;
  }
  if (rate == 0) {
    until = kWhileOff;
  } else if (size >= until) {
    hit = true;
    until = draw(thread, rate);
  } else {
    until -= size;
  }
  thread.left = counting ? 0 : until;
  thread.rest = until - thread.left;
  return hit;
}

void HeapSampler::record(const void* at, std::size_t size, std::span<const std::uintptr_t> frames) noexcept {
  const auto key = reinterpret_cast<std::uintptr_t>(at);
  const std::uint64_t rate = rate_.load(std::memory_order_relaxed);
  double weight = 1.0;
  if (rate > 1)
    weight = -1.0 / std::expm1(-static_cast<double>(std::max<std::size_t>(size, 1)) / static_cast<double>(rate));
  const auto objects = static_cast<std::uint64_t>(std::llround(weight * static_cast<double>(kObject)));
  const auto bytes = static_cast<std::uint64_t>(std::llround(weight * static_cast<double>(size)));
  // It was freed where nobody told us.
  forget(at);
  Keys& keys = keys_[bucket_of(at)];
  for (std::size_t i = 0; i < kPlaces; ++i) {
    std::uintptr_t none = 0;
    if (keys.of[i].load(std::memory_order_relaxed) != 0 ||
        !keys.of[i].compare_exchange_strong(none, 1, std::memory_order_acquire))
      continue;
    taken_[bucket_of(at)].fetch_add(1, std::memory_order_relaxed);
    StackTable::Entry& stack = stacks_.at(frames);
    live_[bucket_of(at)][i] = {objects, bytes, stacks_.index_of(stack)};
    stack.add(allocated_objects, objects);
    stack.add(allocated_bytes, bytes);
    samples_.fetch_add(1, std::memory_order_relaxed);
    keys.of[i].store(key, std::memory_order_release);
    return;
  }
  lost_.fetch_add(1, std::memory_order_relaxed);
}

void HeapSampler::forget(const void* at) noexcept {
  const auto key = reinterpret_cast<std::uintptr_t>(at);
  Keys& keys = keys_[bucket_of(at)];
  for (std::size_t i = 0; i < kPlaces; ++i) {
    if (keys.of[i].load(std::memory_order_relaxed) != key) continue;
    std::uintptr_t expected = key;
    if (!keys.of[i].compare_exchange_strong(expected, 1, std::memory_order_acquire)) return;
    const Live& was = live_[bucket_of(at)][i];
    StackTable::Entry& stack = stacks_.by_index(was.stack);
    stack.add(freed_objects, was.objects);
    stack.add(freed_bytes, was.bytes);
    ended_.fetch_add(1, std::memory_order_relaxed);
    taken_[bucket_of(at)].fetch_sub(1, std::memory_order_relaxed);
    keys.of[i].store(0, std::memory_order_release);
    return;
  }
}

HeapSampler::Stats HeapSampler::stats() const noexcept {
  Stats s;
  const std::uint64_t ended = ended_.load(std::memory_order_relaxed);
  s.samples = samples_.load(std::memory_order_relaxed);
  s.live = s.samples - std::min(ended, s.samples);
  s.lost = lost_.load(std::memory_order_relaxed);
  s.lost_stack = stacks_.lost();
  return s;
}

}  // namespace fiberd::fiber
