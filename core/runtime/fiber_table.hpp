#pragma once
// FiberTable: every fiber that ever was, by index. Grows in chunks, never shrinks.
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>

#include "core/base/lock.hpp"
#include "core/runtime/fiber.hpp"

namespace fiberd::runtime {

class FiberTable {
 public:
  static constexpr std::uint32_t kChunk = 256;
  static constexpr std::uint32_t kMaxFibers = 16U << 20U;

  FiberTable() noexcept = default;
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
  Lock lock_;
  std::atomic<std::uint32_t> chunk_count_{0};
  std::unique_ptr<std::atomic<Fiber*>[]> chunks_ = std::make_unique<std::atomic<Fiber*>[]>(kMaxFibers / kChunk);
};

}  // namespace fiberd::runtime
