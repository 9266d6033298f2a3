#pragma once
// FiberTable: every fiber that ever was, by index. Grows in chunks, never shrinks.
//
// The directory has a place for every chunk there may ever be, so that a look-up (every wake) is two loads and no lock.
// It is mapped, not allocated: 512 KiB that cost nothing until used, which ten thousand simulations would otherwise
// spend half of their time on.
#include <atomic>
#include <cstdint>

#include "core/base/lock.hpp"
#include "core/runtime/fiber.hpp"

namespace fiberd::runtime {

class FiberTable {
 public:
  static constexpr std::uint32_t kChunk = 256;
  static constexpr std::uint32_t kMaxFibers = 16U << 20U;

  FiberTable() noexcept;
  ~FiberTable();
  FiberTable(const FiberTable&) = delete;
  FiberTable& operator=(const FiberTable&) = delete;

  /// Adds a chunk and returns it as a list linked by `next`; nullptr when memory or indices are out. Thread-safe.
  [[nodiscard]] Fiber* grow() noexcept;

  /// The fiber with this index; index must have been handed out. Any thread.
  [[nodiscard]] Fiber& at(std::uint32_t index) const noexcept {
    return chunks_[index / kChunk].load(std::memory_order_acquire)[index % kChunk];
  }
  /// Indices in [1, size()) exist.
  [[nodiscard]] std::uint32_t size() const noexcept { return chunk_count_.load(std::memory_order_acquire) * kChunk; }

 private:
  Lock lock_;  // orders those who write; readers take none
  std::atomic<std::uint32_t> chunk_count_{0};
  std::atomic<Fiber*>* chunks_ = nullptr;  // nullptr: there was no memory, and grow() fails
};

}  // namespace fiberd::runtime
