#include "core/runtime/fiber_table.hpp"

#include <sys/mman.h>

#include <new>

namespace fiberd::runtime {

static constexpr std::size_t kDirectory = FiberTable::kMaxFibers / FiberTable::kChunk * sizeof(std::atomic<Fiber*>);

FiberTable::FiberTable() noexcept {
  // Zero pages are null pointers.
  static_assert(std::atomic<Fiber*>::is_always_lock_free && sizeof(std::atomic<Fiber*>) == sizeof(Fiber*));
  void* const p = mmap(nullptr, kDirectory, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (p != MAP_FAILED) chunks_ = static_cast<std::atomic<Fiber*>*>(p);
}

FiberTable::~FiberTable() {
  if (chunks_ == nullptr) return;
  for (std::uint32_t i = 0; i < chunk_count_.load(std::memory_order_relaxed); ++i)
    delete[] chunks_[i].load(std::memory_order_relaxed);
  munmap(chunks_, kDirectory);
}

Fiber* FiberTable::grow() noexcept {
  const LockGuard guard(lock_);
  const std::uint32_t c = chunk_count_.load(std::memory_order_relaxed);
  if (chunks_ == nullptr || c == kMaxFibers / kChunk) return nullptr;
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
