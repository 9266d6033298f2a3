#pragma once
// Stacks as text, for programs that log or answer with them: Go's runtime.Stack and debug.Stack.
#include <cstddef>
#include <string>

namespace fiberd::runtime {

/// Every fiber with its state, age, what it waits for and its stack, as /debug/pprof/goroutine?debug=2 shows them:
/// those that run first. Not longer than `most` bytes, but for a last line that counts the fibers that did not fit.
/// "" without a runtime. Any thread; on a fiber others are let go between (for_each_fiber). Symbols are looked up:
/// some µs for each place where fibers wait. Throws std::bad_alloc.
[[nodiscard]] std::string stacks(std::size_t most = std::size_t{1} << 20U);

/// The calling fiber's, or thread's, own stack: a line a frame, innermost first, at most 64. Throws std::bad_alloc.
[[nodiscard]] std::string stack();

}  // namespace fiberd::runtime
