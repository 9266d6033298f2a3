#include "tests/support/allocations.hpp"

#include <unistd.h>

#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

static std::atomic<std::uint64_t> count{0};
static std::atomic<std::size_t> limit{SIZE_MAX};
static std::atomic<bool (*)() noexcept> asked{nullptr};
static std::atomic<pid_t> refused{0};  // a thread's number: its thread-local storage may be about to be made

namespace fiberd::test {
std::uint64_t allocations() noexcept { return count.load(); }
void fail_allocations_of(std::size_t bytes) noexcept { limit.store(bytes); }
void refuse_allocations_here(bool refuse) noexcept { refused.store(refuse ? ::gettid() : 0); }
void refuse_allocations_where(bool (*refused_there)() noexcept) noexcept { asked.store(refused_there); }
}  // namespace fiberd::test

static bool is_refused() noexcept {
  bool (*const ask)() noexcept = asked.load(std::memory_order_relaxed);
  return ask != nullptr && ask();
}

static void* counted(std::size_t size, std::size_t alignment) {
  if (const pid_t thread = refused.load(std::memory_order_relaxed); thread != 0 && thread == ::gettid())
    throw std::bad_alloc();
  if (is_refused()) throw std::bad_alloc();
  count.fetch_add(1, std::memory_order_relaxed);
  if (size >= limit.load(std::memory_order_relaxed)) throw std::bad_alloc();
  const std::size_t rounded = (size + alignment - 1) / alignment * alignment;
  void* const p = alignment <= alignof(std::max_align_t) ? std::malloc(size == 0 ? 1 : size)        // NOLINT
                                                         : std::aligned_alloc(alignment, rounded);  // NOLINT
  if (p == nullptr) throw std::bad_alloc();
  return p;
}

void* operator new(std::size_t size) { return counted(size, 1); }
void* operator new[](std::size_t size) { return counted(size, 1); }
void* operator new(std::size_t size, std::align_val_t a) { return counted(size, static_cast<std::size_t>(a)); }
void* operator new[](std::size_t size, std::align_val_t a) { return counted(size, static_cast<std::size_t>(a)); }
// The sanitizers' own would not fit to our delete.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  if (is_refused()) return nullptr;
  count.fetch_add(1, std::memory_order_relaxed);
  return std::malloc(size == 0 ? 1 : size);  // NOLINT
}
void* operator new[](std::size_t size, const std::nothrow_t& nothrow) noexcept { return operator new(size, nothrow); }
void* operator new(std::size_t size, std::align_val_t a, const std::nothrow_t&) noexcept {
  try {
    return counted(size, static_cast<std::size_t>(a));
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void* operator new[](std::size_t size, std::align_val_t a, const std::nothrow_t& nothrow) noexcept {
  return operator new(size, a, nothrow);
}
void operator delete(void* p) noexcept { std::free(p); }                                   // NOLINT
void operator delete[](void* p) noexcept { std::free(p); }                                 // NOLINT
void operator delete(void* p, std::size_t) noexcept { std::free(p); }                      // NOLINT
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }                    // NOLINT
void operator delete(void* p, std::align_val_t) noexcept { std::free(p); }                 // NOLINT
void operator delete[](void* p, std::align_val_t) noexcept { std::free(p); }               // NOLINT
void operator delete(void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }    // NOLINT
void operator delete[](void* p, std::size_t, std::align_val_t) noexcept { std::free(p); }  // NOLINT
