// Compiled with frame pointers, unlike its callers: a function here that a replaced malloc jumps to has the frame of
// whoever called malloc right above its own. Where that is a library, which keeps no frame pointers (libstdc++ grows
// strings itself), the stack is unwound by tables.
#include "core/fiber/sampled_allocation.hpp"

#include <malloc.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

#include "core/fiber/backtrace.hpp"
#include "core/fiber/unwind.hpp"

namespace fiberd::fiber {

namespace {

/// errno is as it was: what succeeds does not change it.
void note(const void* at, std::size_t size, const void* frame, const void* caller) noexcept {
  const int error = errno;
  std::array<std::uintptr_t, StackTable::kFrames> frames;
  const auto here = reinterpret_cast<std::uintptr_t>(frame);
  const StackBounds bounds = stack_bounds_above(here);
  std::size_t n = 0;
  // By tables takes some KiB of stack, which a fiber may not have. Of a thread's stack the bottom is not known.
  static constexpr std::uintptr_t kRoom = 6 * 1024;
  const bool room = bounds.bottom == here || (bounds.bottom != 0 && here - bounds.bottom > kRoom);
  if (room && !in_executable(caller)) n = unwind_frames(caller, frames);
  if (n == 0) n = walk_frames(here, 0, bounds.bottom, bounds.top, frames);
  if (n == 0) frames[n++] = reinterpret_cast<std::uintptr_t>(caller);
  heap_sampler().record(at, size, std::span(frames).first(n));
  errno = error;
}

/// What is allocated by whoever samples is not sampled, and does not come back here.
class Inside {
 public:
  explicit Inside(HeapThread& thread) noexcept : thread_(thread) { thread_.inside = true; }
  ~Inside() { thread_.inside = false; }
  Inside(const Inside&) = delete;
  Inside& operator=(const Inside&) = delete;

 private:
  HeapThread& thread_;
};

[[gnu::always_inline]] inline void* allocate(HeapThread& thread, std::size_t alignment, std::size_t size,
                                             const void* frame, const void* caller) noexcept {
  if (!thread.inside) {
    const Inside inside(thread);
    if (heap_sampler().due(thread, size)) {
      void* const at =
          __libc_memalign(std::max(alignment, HeapSampler::kAlignment), std::max(size, HeapSampler::kLeastSize));
      if (at != nullptr) note(at, size, frame, caller);
      return at;
    }
  }
  return alignment != 0 ? __libc_memalign(alignment, size) : __libc_malloc(size);
}

/// As calloc leaves it. A large one is mostly never touched as a whole, and must not become resident for being a
/// sample.
void clear(void* at, std::size_t size) noexcept {
  static constexpr std::size_t kLarge = 64 * 1024;
  const std::size_t pages = size / HeapSampler::kAlignment * HeapSampler::kAlignment;
  if (size < kLarge || ::madvise(at, pages, MADV_DONTNEED) != 0) {
    std::memset(at, 0, size);
    return;
  }
  std::memset(static_cast<char*>(at) + pages, 0, size - pages);
}

}  // namespace

[[gnu::noinline]] void* slow_malloc(HeapThread& thread, std::size_t size) noexcept {
  return allocate(thread, 0, size, __builtin_frame_address(0), __builtin_return_address(0));
}

[[gnu::noinline]] void* slow_memalign(HeapThread& thread, std::size_t alignment, std::size_t size) noexcept {
  return allocate(thread, alignment, size, __builtin_frame_address(0), __builtin_return_address(0));
}

[[gnu::noinline]] void* slow_calloc(HeapThread& thread, std::size_t n, std::size_t size) noexcept {
  std::size_t all = 0;
  // Too much for a number: the C library refuses it.
  if (thread.inside || __builtin_mul_overflow(n, size, &all)) return __libc_calloc(n, size);
  const Inside inside(thread);
  if (!heap_sampler().due(thread, all)) return __libc_calloc(n, size);
  void* const at = __libc_memalign(HeapSampler::kAlignment, std::max(all, HeapSampler::kLeastSize));
  if (at == nullptr) return nullptr;
  const int error = errno;
  clear(at, all);
  errno = error;
  note(at, all, __builtin_frame_address(0), __builtin_return_address(0));
  return at;
}

[[gnu::noinline]] void* slow_realloc(HeapThread& thread, void* at, std::size_t size) noexcept {
  // For who counts, to realloc is to free and to allocate.
  bool due = false;
  if (size >= thread.left && !thread.inside) {
    const Inside inside(thread);
    due = heap_sampler().due(thread, size);
  } else {
    thread.left -= std::min<std::uint64_t>(size, thread.left);
  }
  if (!due) {
    // Forgotten before: behind the call another thread may have the address. If it fails what is there stays, unseen.
    if (at != nullptr && may_be_sample(at)) heap_sampler().forget(at);
    return __libc_realloc(at, size);
  }
  void* const to = __libc_memalign(HeapSampler::kAlignment, std::max(size, HeapSampler::kLeastSize));
  if (to == nullptr) return nullptr;
  {
    const Inside inside(thread);
    note(to, size, __builtin_frame_address(0), __builtin_return_address(0));
  }
  if (at != nullptr) {
    std::memcpy(to, at, std::min(size, ::malloc_usable_size(at)));
    slow_free(at);
  }
  return to;
}

[[gnu::noinline]] void* slow_new(HeapThread& thread, std::size_t size, std::size_t alignment) {
  for (;;) {
    if (void* const at = allocate(thread, alignment, size, __builtin_frame_address(0), __builtin_return_address(0)))
      return at;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) throw std::bad_alloc();
    handler();
  }
}

[[gnu::noinline]] void* slow_new_nothrow(HeapThread& thread, std::size_t size, std::size_t alignment) noexcept {
  for (;;) {
    if (void* const at = allocate(thread, alignment, size, __builtin_frame_address(0), __builtin_return_address(0)))
      return at;
    const std::new_handler handler = std::get_new_handler();
    if (handler == nullptr) return nullptr;
    try {
      handler();
    } catch (const std::bad_alloc&) {
      return nullptr;
    }
  }
}

[[gnu::noinline]] int slow_posix_memalign(HeapThread& thread, void** to, std::size_t alignment,
                                          std::size_t size) noexcept {
  if (alignment % sizeof(void*) != 0 || alignment == 0 || (alignment & (alignment - 1)) != 0) return EINVAL;
  const int error = errno;
  void* const at = allocate(thread, alignment, size, __builtin_frame_address(0), __builtin_return_address(0));
  errno = error;  // it answers by what it returns
  if (at == nullptr) return ENOMEM;
  *to = at;
  return 0;
}

[[gnu::noinline]] void slow_free(void* at) noexcept {
  if (at == nullptr) return;
  if (may_be_sample(at)) heap_sampler().forget(at);
  __libc_free(at);
}

}  // namespace fiberd::fiber
