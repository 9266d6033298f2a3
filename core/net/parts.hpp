#pragma once
// The parts of a write that the kernel takes piece by piece.
#include <sys/uio.h>

#include <algorithm>
#include <cstddef>
#include <span>

namespace fiberd::net {

/// What is left of `parts` behind their first `n` bytes and any empty ones. The entries change.
[[nodiscard]] inline std::span<iovec> behind(std::span<iovec> parts, std::size_t n) noexcept {
  while (!parts.empty()) {
    iovec& part = parts.front();
    const std::size_t taken = std::min(n, part.iov_len);
    part.iov_base = static_cast<char*>(part.iov_base) + taken;
    part.iov_len -= taken;
    n -= taken;
    if (part.iov_len != 0) break;
    parts = parts.subspan(1);
  }
  return parts;
}

}  // namespace fiberd::net
