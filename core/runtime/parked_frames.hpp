#pragma once
// The return addresses of a parked fiber, so that equal waits have equal ones.
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/fiber/backtrace.hpp"
#include "core/fiber/context.hpp"

namespace fiberd::runtime {

/// As fiber::walk_frames() from `registers`, of a fiber that is held still. The innermost frame is the runtime's, which
/// switches away in more than one place (to the next fiber, or to the scheduler): all that a wait's caller has come
/// back to is told as the first of them that was seen. Any thread; never waits nor allocates.
[[nodiscard]] std::size_t parked_frames(const fiber::FrameRegisters& registers, std::uintptr_t stack_bottom,
                                        std::uintptr_t stack_top, std::span<std::uintptr_t> frames) noexcept;

}  // namespace fiberd::runtime
