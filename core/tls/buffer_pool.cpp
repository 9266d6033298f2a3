#include "core/tls/buffer_pool.hpp"

#include <openssl/crypto.h>
#include <sched.h>
#include <sys/mman.h>

#include <cstdlib>
#include <cstring>

namespace fiberd::tls {

std::size_t BufferPool::shard() noexcept {
  const int cpu = ::sched_getcpu();
  return cpu < 0 ? 0 : static_cast<std::size_t>(cpu) % kShards;
}

bool BufferPool::owns(const void* place) const noexcept {
  const auto* const p = static_cast<const char*>(place);
  const std::size_t n = chunk_count_.load(std::memory_order_acquire);
  for (std::size_t i = 0; i < n; ++i) {
    const char* const base = chunks_[i].load(std::memory_order_relaxed);
    if (p >= base && p < base + kChunk) return true;
  }
  return false;
}

void* BufferPool::take() noexcept {
  {
    Shard& s = shards_[shard()];
    const LeafLockGuard guard(s.lock);
    if (s.warm != 0) return s.places[--s.warm];
  }
  return take_cold();
}

void* BufferPool::take_cold() noexcept {
  const LeafLockGuard guard(lock_);
  if (cold_count_ != 0) return cold_[--cold_count_];
  std::size_t n = chunk_count_.load(std::memory_order_relaxed);
  if (used_ == kPerChunk) {
    if (n == kChunks) return nullptr;
    void* const mapped =
        ::mmap(nullptr, kChunk, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (mapped == MAP_FAILED) return nullptr;
    (void)::madvise(mapped, kChunk, MADV_NOHUGEPAGE);
    chunks_[n].store(static_cast<char*>(mapped), std::memory_order_relaxed);
    chunk_count_.store(++n, std::memory_order_release);
    used_ = 0;
  }
  return chunks_[n - 1].load(std::memory_order_relaxed) + kSlot * used_++;
}

void BufferPool::give(void* place) noexcept {
  {
    Shard& s = shards_[shard()];
    const LeafLockGuard guard(s.lock);
    if (s.warm != kWarm) {
      s.places[s.warm++] = place;
      return;
    }
  }
  (void)::madvise(place, kSlot, MADV_DONTNEED);
  const LeafLockGuard guard(lock_);
  cold_[cold_count_++] = place;
}

// ---------------------------------------------------------------------------------------------- OpenSSL's part

namespace {

constinit BufferPool pool;

void* allocate(std::size_t size, const char* /*file*/, int /*line*/) noexcept {
  if (size == 0) return nullptr;
  if (size >= BufferPool::kLeast && size <= BufferPool::kSlot)
    if (void* const place = pool.take()) return place;
  return std::malloc(size);
}

void release(void* place, const char* /*file*/, int /*line*/) noexcept {
  if (pool.owns(place)) return pool.give(place);
  std::free(place);
}

void* resize(void* place, std::size_t size, const char* file, int line) noexcept {
  if (place == nullptr) return allocate(size, file, line);
  if (size == 0) {
    release(place, file, line);
    return nullptr;
  }
  if (!pool.owns(place)) return std::realloc(place, size);
  if (size <= BufferPool::kSlot) return place;
  void* const larger = std::malloc(size);
  if (larger == nullptr) return nullptr;
  std::memcpy(larger, place, BufferPool::kSlot);
  pool.give(place);
  return larger;
}

}  // namespace

void pool_openssl_buffers() noexcept {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  (void)CRYPTO_set_mem_functions(&allocate, &resize, &release);
#endif
}

}  // namespace fiberd::tls
