#include "core/http/file_piece.hpp"

#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <exception>

#include "core/runtime/blocking.hpp"

namespace fiberd::http {

/// A leaf: where it is called from may park, and errno is a thread's.
[[gnu::noinline]] static std::int64_t read_at(int fd, char* data, std::size_t size, std::uint64_t offset) noexcept {
  for (;;) {
    const ssize_t n = ::pread(fd, data, size, static_cast<off_t>(offset));
    if (n >= 0) return n;
    if (errno != EINTR) return -errno;
  }
}

/// The same of what is in memory; -EAGAIN where it would wait for the disk.
[[gnu::noinline]] static std::int64_t read_cached(int fd, char* data, std::size_t size, std::uint64_t offset) noexcept {
  const iovec part{data, size};
  const ssize_t n = ::preadv2(fd, &part, 1, static_cast<off_t>(offset), RWF_NOWAIT);
  return n >= 0 ? n : -errno;
}

std::int64_t read_piece(int fd, char* data, std::size_t size, std::uint64_t offset) noexcept {
  // Nearly always: a hand-over to the pool and back costs more than the copy.
  const std::int64_t n = read_cached(fd, data, size, offset);
  if (n >= 0) return n;
  try {
    return runtime::blocking([&] { return read_at(fd, data, size, offset); });
  } catch (const std::exception&) {
    return -ENOMEM;
  }
}

}  // namespace fiberd::http
