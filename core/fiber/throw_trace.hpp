#pragma once
// Where an exception was thrown: known even at a fiber's root, where the stack that threw is long unwound.
#include <cstddef>
#include <cstdint>
#include <exception>
#include <span>
#include <string>

namespace fiberd::fiber {

inline constexpr std::size_t kThrowFrames = 16;

/// The return addresses recorded when `exception` was thrown, innermost first; 0 when none are known (any more): only
/// the latest few throws of the process are kept. Thread-safe; never parks.
[[nodiscard]] std::size_t throw_trace(const std::exception_ptr& exception, std::span<std::uintptr_t> out) noexcept;

/// For logs, inside a catch block: the trace of the exception being handled, a line "\n    function+0x1f (module)"
/// each, or " unknown".
[[nodiscard]] std::string throw_site_trace();

}  // namespace fiberd::fiber
