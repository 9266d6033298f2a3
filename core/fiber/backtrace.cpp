#include "core/fiber/backtrace.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <pthread.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

namespace fiberd::fiber {

static std::atomic<StackBoundsHook> bounds_hook{nullptr};

void set_stack_bounds_hook(StackBoundsHook hook) noexcept { bounds_hook.store(hook, std::memory_order_release); }

/// Only ever runs on a thread's own stack, where nothing migrates: its thread_local is safe.
[[gnu::noinline]] static StackBounds thread_stack_bounds() noexcept {
  static thread_local StackBounds bounds;
  if (bounds.top != 0) return bounds;
  pthread_attr_t attributes;
  if (pthread_getattr_np(pthread_self(), &attributes) != 0) return {};
  void* bottom = nullptr;
  std::size_t size = 0;
  if (pthread_attr_getstack(&attributes, &bottom, &size) == 0)
    bounds = {reinterpret_cast<std::uintptr_t>(bottom), reinterpret_cast<std::uintptr_t>(bottom) + size};
  pthread_attr_destroy(&attributes);
  return bounds;
}

StackBounds current_stack_bounds() noexcept {
  StackBounds bounds;
  if (const StackBoundsHook hook = bounds_hook.load(std::memory_order_acquire); hook != nullptr && hook(bounds))
    return bounds;
  return thread_stack_bounds();
}

#if defined(__x86_64__) && defined(__GLIBC__)
extern "C" void* __libc_stack_end;  // the C library's name for it

StackBounds stack_bounds_above(std::uintptr_t frame) noexcept {
  StackBounds bounds;
  if (const StackBoundsHook hook = bounds_hook.load(std::memory_order_acquire); hook != nullptr && hook(bounds))
    return frame >= bounds.bottom && frame < bounds.top ? bounds : StackBounds{};
  // The C library keeps what pthread_self() tells at the upper end of the stack of each thread but the first, whose
  // stack lies above all else.
  const auto self = static_cast<std::uintptr_t>(pthread_self());
  const auto end_of_first = reinterpret_cast<std::uintptr_t>(__libc_stack_end);
  const std::uintptr_t top = self > frame ? self : end_of_first;
  return top > frame ? StackBounds{frame, top} : StackBounds{};
}
#else
StackBounds stack_bounds_above(std::uintptr_t frame) noexcept {
  StackBounds bounds;
  const StackBoundsHook hook = bounds_hook.load(std::memory_order_acquire);
  return hook != nullptr && hook(bounds) && frame >= bounds.bottom && frame < bounds.top ? bounds : StackBounds{};
}
#endif

// It reads frames that the sanitizers consider somebody else's.
#if defined(__clang__)
__attribute__((no_sanitize("address", "thread")))
#else
__attribute__((no_sanitize("address", "thread"), noinline))
#endif
std::size_t
walk_frames(std::uintptr_t rbp, std::uintptr_t rip, std::uintptr_t stack_bottom, std::uintptr_t stack_top,
            std::span<std::uintptr_t> out) noexcept {
  constexpr std::uintptr_t kFrame = 2 * sizeof(std::uintptr_t);  // saved frame pointer, return address
  std::size_t n = 0;
  if (rip != 0 && n < out.size()) out[n++] = rip;
  while (n < out.size() && rbp % sizeof(std::uintptr_t) == 0 && rbp >= stack_bottom && rbp < stack_top &&
         stack_top - rbp >= kFrame) {
    const auto* frame = reinterpret_cast<const std::uintptr_t*>(rbp);
    const std::uintptr_t caller = frame[0];
    // The outermost frame: what it would return to is a stub of the context's start.
    if (caller == 0 || frame[1] == 0) break;
    out[n++] = frame[1];
    if (caller <= rbp) break;  // stacks grow down; anything else is not a chain of frames
    rbp = caller;
  }
  return n;
}

[[gnu::noinline]] std::size_t capture_backtrace(std::span<std::uintptr_t> out) noexcept {
  const StackBounds bounds = current_stack_bounds();
  return walk_frames(reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0)), 0, bounds.bottom, bounds.top, out);
}

/// Demangling recurses: some hundred bytes of stack for each character of a name (measured: 44 KiB for 434, 216 KiB for
/// 1,015). Where that may not be there, on a fiber's small stack, the name stays as the linker has it.
std::string demangle(const char* name) {
  static constexpr std::size_t kEachCharacter = 256;
  static constexpr std::size_t kBesides = 8192;
  const auto here = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  const StackBounds bounds = current_stack_bounds();
  if (here <= bounds.bottom || here - bounds.bottom < std::strlen(name) * kEachCharacter + kBesides) return name;
  int status = -1;
  const std::unique_ptr<char, decltype(&std::free)> text(abi::__cxa_demangle(name, nullptr, nullptr, &status),
                                                         &std::free);
  return status == 0 ? text.get() : name;
}

std::string function_at(std::uintptr_t address) {
  Dl_info info{};
  if (dladdr(reinterpret_cast<const void*>(address), &info) == 0 || info.dli_sname == nullptr) return {};
  return demangle(info.dli_sname);
}

std::string symbolize(std::uintptr_t return_address) {
  // The call may be its function's last instruction, so the return address may belong to the next function.
  const std::uintptr_t address = return_address == 0 ? 0 : return_address - 1;
  char text[64];
  Dl_info info{};
  const bool found = dladdr(reinterpret_cast<const void*>(address), &info) != 0;
  std::string result;
  if (found && info.dli_sname != nullptr) {
    result = demangle(info.dli_sname);
    std::snprintf(text, sizeof text, "+0x%zx",
                  static_cast<std::size_t>(return_address - reinterpret_cast<std::uintptr_t>(info.dli_saddr)));
  } else {
    // Inside of the module, which is loaded elsewhere each time: what addr2line(1) and the like want.
    const std::uintptr_t base = found ? reinterpret_cast<std::uintptr_t>(info.dli_fbase) : 0;
    std::snprintf(text, sizeof text, "%s0x%zx", base != 0 ? "+" : "", static_cast<std::size_t>(return_address - base));
  }
  result += text;
  if (found && info.dli_fname != nullptr) {
    const std::string_view path = info.dli_fname;
    result += " (";
    result += path.substr(path.find_last_of('/') + 1);
    result += ')';
  }
  return result;
}

}  // namespace fiberd::fiber
