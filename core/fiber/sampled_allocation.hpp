#pragma once
// What malloc and its family do where a thread's countdown has run out, or something that begins at a page is freed:
// heap_interposer.cpp jumps here. The C library's own functions do the work.
#include <cstddef>

#include "core/fiber/heap_sampler.hpp"

extern "C" {
// The C library's, by the names that it keeps for those who stand before it.
void* __libc_malloc(std::size_t size) noexcept;
void* __libc_calloc(std::size_t n, std::size_t size) noexcept;
void* __libc_realloc(void* at, std::size_t size) noexcept;
void* __libc_memalign(std::size_t alignment, std::size_t size) noexcept;
void __libc_free(void* at) noexcept;
}

namespace fiberd::fiber {

// Each is the last thing that its caller does, so that what it sees as its caller is who wanted memory.
[[nodiscard]] void* slow_malloc(HeapThread& thread, std::size_t size) noexcept;
[[nodiscard]] void* slow_calloc(HeapThread& thread, std::size_t n, std::size_t size) noexcept;
[[nodiscard]] void* slow_memalign(HeapThread& thread, std::size_t alignment, std::size_t size) noexcept;
/// `at` may be a sample; `size` is not 0.
[[nodiscard]] void* slow_realloc(HeapThread& thread, void* at, std::size_t size) noexcept;
/// operator new: asks the new handler, throws std::bad_alloc. `alignment` 0: as malloc's.
[[nodiscard]] void* slow_new(HeapThread& thread, std::size_t size, std::size_t alignment);
[[nodiscard]] void* slow_new_nothrow(HeapThread& thread, std::size_t size, std::size_t alignment) noexcept;
/// As posix_memalign, whose arguments it looks at.
[[nodiscard]] int slow_posix_memalign(HeapThread& thread, void** to, std::size_t alignment, std::size_t size) noexcept;
/// `at` may be a sample, or null.
void slow_free(void* at) noexcept;

/// Whether what lies at `at` may be a sample.
[[nodiscard, gnu::always_inline]] inline bool may_be_sample(const void* at) noexcept {
  return reinterpret_cast<std::uintptr_t>(at) % HeapSampler::kAlignment == 0 && heap_sampler().may_have(at);
}

}  // namespace fiberd::fiber
