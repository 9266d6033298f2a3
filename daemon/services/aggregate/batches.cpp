#include "daemon/services/aggregate/batches.hpp"

#include <cstring>

namespace fiberd::daemon::aggregate {

BufferPool::BufferPool(std::size_t size, std::size_t most_kept) : size_(size), most_kept_(most_kept) {
  kept_.reserve(most_kept);
}

BufferPool::~BufferPool() {
  for (char* const buffer : kept_) delete[] buffer;
}

BufferPool::Buffer BufferPool::take() {
  char* buffer = nullptr;
  {
    // The last one given back is the one whose bytes are in the cache.
    const LockGuard guard(lock_);
    if (!kept_.empty()) {
      buffer = kept_.back();
      kept_.pop_back();
    }
  }
  if (buffer == nullptr) buffer = new char[size_];
  return Buffer(buffer, Return{this});
}

void BufferPool::give_back(char* buffer) noexcept {
  {
    const LockGuard guard(lock_);
    if (kept_.size() < most_kept_) {
      kept_.push_back(buffer);  // reserved
      return;
    }
  }
  delete[] buffer;
}

std::size_t LineCutter::begin(char* buffer) noexcept {
  const std::size_t size = rest_.size();
  std::memcpy(buffer, rest_.data(), size);
  return size;
}

std::pair<std::size_t, std::size_t> LineCutter::cut(const char* buffer, std::size_t filled) {
  std::size_t begin = 0;
  if (skipping_) {
    const void* const end = std::memchr(buffer, '\n', filled);
    if (end == nullptr) return {0, 0};
    begin = static_cast<std::size_t>(static_cast<const char*>(end) - buffer) + 1;
    skipping_ = false;
  }
  const void* const last = ::memrchr(buffer + begin, '\n', filled - begin);
  const std::size_t end =
      last == nullptr ? begin : static_cast<std::size_t>(static_cast<const char*>(last) - buffer) + 1;
  if (filled - end > line_size_ + 1) {
    skipping_ = true;
    ++skipped_;
    rest_.clear();
  } else if (filled == end) {
    rest_.clear();
  } else {
    rest_.assign(buffer + end, filled - end);
  }
  return {begin, end - begin};
}

}  // namespace fiberd::daemon::aggregate
