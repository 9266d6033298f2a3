#pragma once
// Stacks whose innermost frames are a library's, compiled without frame pointers: they are unwound by their tables,
// which takes a microsecond and knows every caller.
#include <cstddef>
#include <cstdint>
#include <span>

namespace fiberd::fiber {

/// Whether `address` lies in the executable's own code, which keeps frame pointers.
[[nodiscard]] bool in_executable(const void* address) noexcept;

/// The caller's return addresses from `from` on, one of them, innermost first, by the unwinder's tables. 0: it is not
/// among the callers. Some 3 KiB of stack; allocates nothing and takes no lock (glibc ≥ 2.35).
[[nodiscard]] std::size_t unwind_frames(const void* from, std::span<std::uintptr_t> out) noexcept;

}  // namespace fiberd::fiber
