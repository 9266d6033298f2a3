#pragma once
// Backtraces by frame pointers: cheap, bounded, usable on a parked fiber and in a signal handler. All of fiberd is
// compiled with frame pointers; frames of libraries without them are skipped or end the walk, never break it.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace fiberd::fiber {

/// A stack's extent: [bottom, top).
struct StackBounds {
  std::uintptr_t bottom = 0;
  std::uintptr_t top = 0;
};

/// Supplied by the runtime: the bounds of the calling fiber's stack, or false when the thread runs on its own stack.
/// Must not park or allocate.
using StackBoundsHook = bool (*)(StackBounds& bounds) noexcept;
void set_stack_bounds_hook(StackBoundsHook hook) noexcept;

/// Bounds of the stack the caller runs on. On a thread's own stack the first call reads them from the system (slow).
[[nodiscard]] StackBounds current_stack_bounds() noexcept;

/// Bounds of the stack that `frame`, an address on the caller's stack, lies on: as current_stack_bounds(), but asks the
/// system for nothing, so it may be called inside of malloc and in signal handlers. On a thread's own stack the bottom
/// is `frame` itself, and the top no more than the stack's end. Empty where it is not known.
[[nodiscard]] StackBounds stack_bounds_above(std::uintptr_t frame) noexcept;

/// Writes code addresses, innermost first: `rip` itself (unless 0), then the return addresses found from `rbp` on.
/// Reads memory only inside [stack_bottom, stack_top), whose owner must not run meanwhile (or be the caller).
/// Returns how many were written. Async-signal-safe.
[[nodiscard]] std::size_t walk_frames(std::uintptr_t rbp, std::uintptr_t rip, std::uintptr_t stack_bottom,
                                      std::uintptr_t stack_top, std::span<std::uintptr_t> out) noexcept;

/// The caller's own backtrace, beginning with the place of the call.
[[nodiscard]] std::size_t capture_backtrace(std::span<std::uintptr_t> out) noexcept;

/// "function+0x1f (module)" for a return address; of functions that are not exported "+0x1c0ffee (module)", the offset
/// in the module. Allocates. Names of the executable's own functions need it to be linked with -rdynamic, as CMake does
/// for all that links fiberd::core.
[[nodiscard]] std::string symbolize(std::uintptr_t return_address);
/// The function that holds this address, demangled; "" where no name is known. Allocates.
[[nodiscard]] std::string function_at(std::uintptr_t address);
/// A linker's name as the source has it; as it is where it is none of C++, or the stack here is too small for its
/// length. Allocates.
[[nodiscard]] std::string demangle(const char* name);

}  // namespace fiberd::fiber
