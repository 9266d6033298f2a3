#pragma once
// What a signal has interrupted: for handlers that look at the thread they run on (fiber_list.cpp, CPU samples).
#include <cstddef>
#include <cstdint>

#include "core/fiber/backtrace.hpp"
#include "core/runtime/fiber_origin.hpp"
#include "core/runtime/profile_label.hpp"

namespace fiberd::runtime {

struct Interrupted {
  std::uintptr_t rip = 0;
  std::uintptr_t rbp = 0;
  std::uintptr_t rsp = 0;
  std::uint32_t fiber_index = 0;  ///< of the fiber that this thread has as its present one; 0: none
  /// Of that fiber, when the thread stands on it; else {0, 0}: between two fibers the present one may be the next, and
  /// the stack still the other's.
  fiber::StackBounds stack{};
  // Only with a stack: then no other thread runs this fiber, and it cannot end meanwhile.
  FiberOrigin origin{};
  const ProfileLabelNode* labels = nullptr;
};

/// In a signal handler: of its ucontext_t. Async-signal-safe.
[[nodiscard]] Interrupted look_at_interrupted(const void* ucontext) noexcept;

}  // namespace fiberd::runtime
