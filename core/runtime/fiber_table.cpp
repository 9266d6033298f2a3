#include "core/runtime/fiber_table.hpp"

#include <new>

namespace fiberd::runtime {

FiberTable::~FiberTable() {
  for (std::uint32_t i = 0; i < chunk_count_.load(std::memory_order_relaxed); ++i)
    delete[] chunks_[i].load(std::memory_order_relaxed);
}

Fiber* FiberTable::grow() noexcept {
  const LockGuard guard(lock_);
  const std::uint32_t c = chunk_count_.load(std::memory_order_relaxed);
  if (c == kMaxFibers / kChunk) return nullptr;
  auto* const fibers = new (std::nothrow) Fiber[kChunk];
  if (fibers == nullptr) return nullptr;
  // Index 0 stays unused: a Ticket of value 0 is "none".
  Fiber* list = nullptr;
  for (std::uint32_t i = kChunk; i-- > (c == 0 ? 1U : 0U);) {
    fibers[i].index = c * kChunk + i;
    fibers[i].next = list;
    list = &fibers[i];
  }
  chunks_[c].store(fibers, std::memory_order_release);
  chunk_count_.store(c + 1, std::memory_order_release);
  return list;
}

}  // namespace fiberd::runtime
