#pragma once
// BufferPool: where OpenSSL's large buffers come from.
//
// A record is read into 17 KB, written from as much, and a handshake gathers its messages in 22 KB; each is asked for
// when it is needed and given back behind it (SSL_MODE_RELEASE_BUFFERS), so that an idle connection holds none. From
// malloc that costs more than the buffers are worth: two of them a request, looked for among holes of all sizes; and
// what a connection keeps comes to lie between them, so that the holes stay when they are given back. So they have
// places of their own, the last one that was given back first.
//
// A place that is given back beyond what is kept warm is empty pages again; its addresses are kept.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

#include "core/base/lock.hpp"
#include "core/base/thread_safety.hpp"

namespace fiberd::tls {

/// From any thread. Never destroyed.
class BufferPool {
 public:
  static constexpr std::size_t kLeast = std::size_t{12} * 1024;  ///< smaller ones are malloc's
  static constexpr std::size_t kSlot = std::size_t{24} * 1024;
  static constexpr std::size_t kWarm = 32;  ///< places that are kept as they are, a shard

  constexpr BufferPool() noexcept = default;
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;
  /// kSlot bytes; nullptr: there is no address space left, or too much of it is in use.
  [[nodiscard]] void* take() noexcept;
  /// What take() returned.
  void give(void* place) noexcept;
  [[nodiscard]] bool owns(const void* place) const noexcept;

 private:
  static constexpr std::size_t kShards = 16;
  static constexpr std::size_t kChunk = std::size_t{8} << 20U;
  static constexpr std::size_t kPerChunk = kChunk / kSlot;
  static constexpr std::size_t kChunks = 128;  // 1 GiB
  struct alignas(64) Shard {
    LeafLock lock;
    std::size_t warm FIBERD_GUARDED_BY(lock) = 0;
    std::array<void*, kWarm> places FIBERD_GUARDED_BY(lock){};
  };
  [[nodiscard]] static std::size_t shard() noexcept;
  [[nodiscard]] void* take_cold() noexcept;

  std::array<Shard, kShards> shards_{};
  LeafLock lock_;
  std::size_t cold_count_ FIBERD_GUARDED_BY(lock_) = 0;
  std::size_t used_ FIBERD_GUARDED_BY(lock_) = kPerChunk;  // of the last chunk
  std::array<void*, kChunks * kPerChunk> cold_ FIBERD_GUARDED_BY(lock_){};
  std::atomic<std::size_t> chunk_count_{0};
  std::array<std::atomic<char*>, kChunks> chunks_{};
};

/// From now on OpenSSL's buffers come from a pool of this process. Before OpenSSL has allocated anything at all: later
/// it goes on with malloc, and so it does under sanitizers.
void pool_openssl_buffers() noexcept;

}  // namespace fiberd::tls
