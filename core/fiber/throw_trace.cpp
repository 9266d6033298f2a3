// The program's __cxa_throw is ours: it records a frame-pointer walk and calls the C++ library's. A throw costs over a
// microsecond anyway; the walk adds some 20 ns. What the C++ library throws for us (std::stoi, vector::at) comes from a
// function that keeps no frame pointer, and the walk would end there, or miss who called it. So a throw from outside
// the executable is unwound by its tables, which takes a microsecond more and knows every caller.
//
// The trace is filed under the address of the exception object, in a small table of the whole process. Rejected: a
// buffer per thread (a destructor that parks during unwinding moves the fiber, and the trace would stay behind or
// belong to another fiber's throw); a buffer per fiber (code off fibers throws too); room beside the exception object
// (__cxa_allocate_exception and __cxa_free_exception would have to be replaced as well).
//
// A table slot is a sequence lock without fences: all its words are atomics, so a reader that overlaps a writer sees an
// odd or changed version and reports nothing. A writer that finds the slot busy goes on without a trace.

#include "core/fiber/throw_trace.hpp"

#include <dlfcn.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>
#include <string_view>
#include <typeinfo>

#include "core/base/cache_line.hpp"
#include "core/base/guarded_write.hpp"
#include "core/fiber/backtrace.hpp"
#include "core/fiber/unwind.hpp"

namespace fiberd::fiber {

namespace {

struct alignas(kCacheLine) Slot {
  std::atomic<std::uint32_t> version{0};  // odd: being written
  std::atomic<std::uint32_t> count{0};
  std::atomic<const void*> object{nullptr};
  std::array<std::atomic<std::uintptr_t>, kThrowFrames> frames{};
};

std::array<Slot, 64> slots;

Slot& slot_of(const void* object) noexcept {
  return slots[(reinterpret_cast<std::uintptr_t>(object) >> 4U) * 0x9e3779b97f4a7c15U >> 58U];
}

void record(const void* object, std::span<const std::uintptr_t> frames) noexcept {
  Slot& slot = slot_of(object);
  std::uint32_t version = slot.version.load(std::memory_order_relaxed);
  if (version % 2 != 0 || !slot.version.compare_exchange_strong(version, version + 1, std::memory_order_acquire))
    return;
  slot.object.store(object, std::memory_order_release);
  slot.count.store(static_cast<std::uint32_t>(frames.size()), std::memory_order_release);
  for (std::size_t i = 0; i < frames.size(); ++i) slot.frames[i].store(frames[i], std::memory_order_release);
  slot.version.store(version + 2, std::memory_order_release);
}

}  // namespace

std::size_t throw_trace(const std::exception_ptr& exception, std::span<std::uintptr_t> out) noexcept {
  if (exception == nullptr) return 0;
  // libstdc++ and libc++ both keep exactly the object's address in an exception_ptr.
  static_assert(sizeof(std::exception_ptr) == sizeof(void*));
  const void* object = nullptr;
  std::memcpy(&object, static_cast<const void*>(&exception), sizeof object);

  const Slot& slot = slot_of(object);
  const std::uint32_t version = slot.version.load(std::memory_order_acquire);
  if (version % 2 != 0 || slot.object.load(std::memory_order_acquire) != object) return 0;
  std::size_t n = 0;
  const std::size_t count = slot.count.load(std::memory_order_acquire);
  for (; n < count && n < out.size(); ++n) out[n] = slot.frames[n].load(std::memory_order_acquire);
  return slot.version.load(std::memory_order_relaxed) == version ? n : 0;
}

std::string throw_site_trace() {
  std::array<std::uintptr_t, kThrowFrames> frames{};
  const std::size_t n = throw_trace(std::current_exception(), frames);
  std::string text;
  for (std::size_t i = 0; i < n; ++i) text += "\n    " + symbolize(frames[i]);
  return n == 0 ? " unknown" : text;
}

}  // namespace fiberd::fiber

extern "C" {

[[noreturn]] __attribute__((noinline, visibility("default"))) void __cxa_throw(void* object, std::type_info* type,
                                                                               void (*destructor)(void*)) {
  using Throw = void (*)(void*, std::type_info*, void (*)(void*));
  static std::atomic<Throw> library_throw{nullptr};
  Throw next = library_throw.load(std::memory_order_acquire);
  if (next == nullptr) {
    next = reinterpret_cast<Throw>(dlsym(RTLD_NEXT, "__cxa_throw"));
    if (next == nullptr) {
      static constexpr std::string_view kText = "fiberd: the C++ library's __cxa_throw is not a shared symbol\n";
      (void)fiberd::write_guarded(STDERR_FILENO, kText, 1000);
      std::abort();
    }
    library_throw.store(next, std::memory_order_release);
  }
  std::array<std::uintptr_t, fiberd::fiber::kThrowFrames> frames;
  const void* const thrower = __builtin_return_address(0);
  std::size_t n = 0;
  if (!fiberd::fiber::in_executable(thrower)) n = fiberd::fiber::unwind_frames(thrower, frames);
  if (n == 0) {
    const fiberd::fiber::StackBounds bounds = fiberd::fiber::current_stack_bounds();
    n = fiberd::fiber::walk_frames(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)), 0, bounds.bottom,
                                   bounds.top, frames);
  }
  fiberd::fiber::record(object, std::span(frames).first(n));
  next(object, type, destructor);
  std::abort();
}
}
