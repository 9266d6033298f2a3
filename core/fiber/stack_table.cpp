#include "core/fiber/stack_table.hpp"

#include <algorithm>

namespace fiberd::fiber {

// Its name is what profiles show for the stacks that found no place.
[[gnu::noinline, gnu::used]] void stack_table_is_full() noexcept { asm volatile(""); }

std::uintptr_t StackTable::name_of_beyond() noexcept {
  // Profiles look for the call, one byte before the address that it returns to.
  return reinterpret_cast<std::uintptr_t>(&stack_table_is_full) + 1;
}

static std::uint64_t hash_of(std::span<const std::uintptr_t> frames, std::uint32_t tag) noexcept {
  std::uint64_t h = 0x9e3779b97f4a7c15U ^ (std::uint64_t{tag} << 32U) ^ frames.size();
  for (const std::uintptr_t frame : frames) {
    h = (h ^ frame) * 0xff51afd7ed558ccdU;
    h ^= h >> 32U;
  }
  return h != 0 ? h : 1;
}

StackTable::Entry& StackTable::at(std::span<const std::uintptr_t> frames, std::uint32_t tag) noexcept {
  static constexpr std::size_t kTries = 256;
  if (frames.size() > kFrames) frames = frames.first(kFrames);
  const std::uintptr_t unknown[1] = {0};
  if (frames.empty()) frames = unknown;
  const std::uint64_t hash = hash_of(frames, tag);
  for (std::size_t i = 0; i < kTries; ++i) {
    Entry& entry = entries_[(hash + i) % kStacks];
    std::uint64_t there = entry.hash.load(std::memory_order_acquire);
    if (there == 0 && entry.hash.compare_exchange_strong(there, hash, std::memory_order_acq_rel)) {
      std::copy(frames.begin(), frames.end(), entry.frames.begin());
      entry.tag = tag;
      entry.count.store(static_cast<std::uint32_t>(frames.size()), std::memory_order_release);
      return entry;
    }
    if (there == hash) return entry;
  }
  lost_.fetch_add(1, std::memory_order_relaxed);
  return beyond_;
}

}  // namespace fiberd::fiber
