// The program's malloc, free and operator new, before the C library's and the C++ library's, so that heap_sampler.hpp
// sees what everybody allocates: us, our users, and all libraries. Linked into a program by fiberd::heap_profile, and
// into fiberd itself (docs/adr/0014-heap-profile.md says why so).
//
// An allocation that nobody looks at costs a comparison and a subtraction in the thread's own storage before the C
// library's malloc is jumped to; what is freed the test of twelve bits. Operator new and delete are here as well, not
// only because libstdc++'s would come by here anyhow: it keeps no frame pointer, and its caller would be missing in
// each stack. Compiled without frame pointers itself, so that whoever calls malloc is the caller of what these
// functions jump to.
//
// A thread's storage is touched between no two waits: nothing here parks.
//
// All of the family must be replaced together, what malloc makes must be what free takes (glibc's manual, "Replacing
// malloc"); malloc_usable_size, mallinfo and malloc_trim stay the C library's, whose memory it is.
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <new>

#include "core/fiber/sampled_allocation.hpp"

using fiberd::fiber::HeapThread;
using fiberd::fiber::may_be_sample;

static __thread HeapThread mine __attribute__((tls_model("local-exec")));

// What heap_sampler.cpp asks for, to know that we are here.
extern "C" void fiberd_heap_interposer() noexcept;
extern "C" void fiberd_heap_interposer() noexcept {}

/// False: somebody must look.
[[gnu::always_inline]] static inline bool count_down(std::size_t size) noexcept {
  const std::uint64_t left = mine.left;
  if (size >= left) [[unlikely]]
    return false;
  mine.left = left - size;
  return true;
}

static constexpr std::size_t kPage = 4096;

extern "C" {

void* malloc(std::size_t size) noexcept {
  if (!count_down(size)) [[unlikely]]
    return fiberd::fiber::slow_malloc(mine, size);
  return __libc_malloc(size);
}

void free(void* at) noexcept {
  if (may_be_sample(at)) [[unlikely]] {
    fiberd::fiber::slow_free(at);
    return;
  }
  __libc_free(at);
}

void* calloc(std::size_t n, std::size_t size) noexcept {
  // Of large factors the product may be anything: the slow one refuses it, or counts it.
  if ((n | size) > UINT32_MAX || !count_down(n * size)) [[unlikely]]
    return fiberd::fiber::slow_calloc(mine, n, size);
  return __libc_calloc(n, size);
}

void* realloc(void* at, std::size_t size) noexcept {
  if (size == 0) return __libc_realloc(may_be_sample(at) ? (fiberd::fiber::heap_sampler().forget(at), at) : at, 0);
  if (may_be_sample(at) || !count_down(size)) [[unlikely]]
    return fiberd::fiber::slow_realloc(mine, at, size);
  return __libc_realloc(at, size);
}

void* memalign(std::size_t alignment, std::size_t size) noexcept {
  if (!count_down(size)) [[unlikely]]
    return fiberd::fiber::slow_memalign(mine, alignment, size);
  return __libc_memalign(alignment, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) noexcept {
  if (!count_down(size)) [[unlikely]]
    return fiberd::fiber::slow_memalign(mine, alignment, size);
  return __libc_memalign(alignment, size);
}

int posix_memalign(void** to, std::size_t alignment, std::size_t size) noexcept {
  return fiberd::fiber::slow_posix_memalign(mine, to, alignment, size);
}

void* valloc(std::size_t size) noexcept { return memalign(kPage, size); }

void* pvalloc(std::size_t size) noexcept {
  if (size > SIZE_MAX - kPage) {
    errno = ENOMEM;
    return nullptr;
  }
  return memalign(kPage, (size + kPage - 1) / kPage * kPage);
}
}

// ---------------------------------------------------------------------------------------------- C++

// An alignment of 0 is malloc's.
[[gnu::always_inline]] static inline void* quick(std::size_t size, std::size_t alignment) noexcept {
  if (!count_down(size)) [[unlikely]]
    return nullptr;
  return alignment != 0 ? __libc_memalign(alignment, size) : __libc_malloc(size);
}

void* operator new(std::size_t size) {
  void* const at = quick(size, 0);
  return at != nullptr ? at : fiberd::fiber::slow_new(mine, size, 0);
}
void* operator new[](std::size_t size) {
  void* const at = quick(size, 0);
  return at != nullptr ? at : fiberd::fiber::slow_new(mine, size, 0);
}
void* operator new(std::size_t size, std::align_val_t a) {
  void* const at = quick(size, static_cast<std::size_t>(a));
  return at != nullptr ? at : fiberd::fiber::slow_new(mine, size, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t size, std::align_val_t a) {
  void* const at = quick(size, static_cast<std::size_t>(a));
  return at != nullptr ? at : fiberd::fiber::slow_new(mine, size, static_cast<std::size_t>(a));
}
void* operator new(std::size_t size, const std::nothrow_t& /*unused*/) noexcept {
  void* const at = quick(size, 0);
  return at != nullptr ? at : fiberd::fiber::slow_new_nothrow(mine, size, 0);
}
void* operator new[](std::size_t size, const std::nothrow_t& /*unused*/) noexcept {
  void* const at = quick(size, 0);
  return at != nullptr ? at : fiberd::fiber::slow_new_nothrow(mine, size, 0);
}
void* operator new(std::size_t size, std::align_val_t a, const std::nothrow_t& /*unused*/) noexcept {
  void* const at = quick(size, static_cast<std::size_t>(a));
  return at != nullptr ? at : fiberd::fiber::slow_new_nothrow(mine, size, static_cast<std::size_t>(a));
}
void* operator new[](std::size_t size, std::align_val_t a, const std::nothrow_t& /*unused*/) noexcept {
  void* const at = quick(size, static_cast<std::size_t>(a));
  return at != nullptr ? at : fiberd::fiber::slow_new_nothrow(mine, size, static_cast<std::size_t>(a));
}

void operator delete(void* at) noexcept { free(at); }
void operator delete[](void* at) noexcept { free(at); }
void operator delete(void* at, std::size_t /*size*/) noexcept { free(at); }
void operator delete[](void* at, std::size_t /*size*/) noexcept { free(at); }
void operator delete(void* at, std::align_val_t /*alignment*/) noexcept { free(at); }
void operator delete[](void* at, std::align_val_t /*alignment*/) noexcept { free(at); }
void operator delete(void* at, std::size_t /*size*/, std::align_val_t /*alignment*/) noexcept { free(at); }
void operator delete[](void* at, std::size_t /*size*/, std::align_val_t /*alignment*/) noexcept { free(at); }
void operator delete(void* at, const std::nothrow_t& /*unused*/) noexcept { free(at); }
void operator delete[](void* at, const std::nothrow_t& /*unused*/) noexcept { free(at); }
void operator delete(void* at, std::align_val_t /*alignment*/, const std::nothrow_t& /*unused*/) noexcept { free(at); }
void operator delete[](void* at, std::align_val_t /*alignment*/, const std::nothrow_t& /*unused*/) noexcept {
  free(at);
}
