#pragma once
// Batches: how lines travel from who reads them to who takes them, whole buffers of whole lines at a time.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/base/lock.hpp"

namespace fiberd::daemon::aggregate {

/// Buffers of one size, kept for the next. Thread-safe; never parks. Must outlive its buffers.
class BufferPool {
 public:
  struct Return {
    BufferPool* pool = nullptr;
    void operator()(char* buffer) const noexcept { pool->give_back(buffer); }
  };
  using Buffer = std::unique_ptr<char[], Return>;

  /// Keeps at most `most_kept` buffers that nobody uses. Throws std::bad_alloc.
  BufferPool(std::size_t size, std::size_t most_kept);
  ~BufferPool();
  BufferPool(const BufferPool&) = delete;
  BufferPool& operator=(const BufferPool&) = delete;

  /// Throws std::bad_alloc.
  [[nodiscard]] Buffer take();
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  void give_back(char* buffer) noexcept;
  const std::size_t size_;
  const std::size_t most_kept_;
  Lock lock_;
  std::vector<char*> kept_ FIBERD_GUARDED_BY(lock_);
};

/// Whole lines in a buffer.
struct Batch {
  BufferPool::Buffer buffer;
  std::size_t offset = 0;
  std::size_t size = 0;
  [[nodiscard]] std::string_view lines() const noexcept { return {buffer.get() + offset, size}; }
};

/// Cuts a stream that comes in pieces into whole lines. A buffer is begun with what was left of the one before; between
/// buffers only that is kept. A line that grows beyond `line_size` (and a CR) is skipped and counted. Not thread-safe.
class LineCutter {
 public:
  explicit LineCutter(std::size_t line_size) noexcept : line_size_(line_size) {}

  /// Puts the beginning of an unfinished line into `buffer`, which has room for line_size + 1 bytes; its size.
  [[nodiscard]] std::size_t begin(char* buffer) noexcept;
  /// The whole lines of the first `filled` bytes of that buffer: offset and size. Keeps the rest. Throws
  /// std::bad_alloc.
  [[nodiscard]] std::pair<std::size_t, std::size_t> cut(const char* buffer, std::size_t filled);
  /// The beginning of an unfinished line; empty: none, or it is being skipped.
  [[nodiscard]] const std::string& rest() const noexcept { return rest_; }
  /// Lines that were skipped since the last call.
  [[nodiscard]] std::uint64_t take_skipped() noexcept { return std::exchange(skipped_, 0); }

 private:
  const std::size_t line_size_;
  std::string rest_;
  bool skipping_ = false;
  std::uint64_t skipped_ = 0;
};

}  // namespace fiberd::daemon::aggregate
