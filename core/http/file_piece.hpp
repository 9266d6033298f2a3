#pragma once
// A piece of a file in memory, for whoever cannot have the kernel send it: what is encoded, or framed, on its way.
#include <cstddef>
#include <cstdint>

namespace fiberd::http {

/// Up to `size` bytes from `offset`: of what the kernel has in memory at once, else by the blocking pool. 0: the file
/// ends there. Negative: -errno. On a fiber; may park.
[[nodiscard]] std::int64_t read_piece(int fd, char* data, std::size_t size, std::uint64_t offset) noexcept;

}  // namespace fiberd::http
