#pragma once
// Broken invariants. Debug builds stop at once. Release builds count (metric fiberd_bugs_total), log file and line, and
// go on: a server that can still serve should.
#include <cstdint>
#include <string>

#include "core/base/source_location.hpp"

namespace fiberd {

void report_bug(const char* what, SourceLocation where = SourceLocation::current()) noexcept;
[[nodiscard]] std::uint64_t bug_count() noexcept;
/// What else there is to say about where the calling thread is, to stand behind the message: the runtime adds the fiber
/// and its trace. May allocate; must not park or throw.
using BugDetails = std::string (*)() noexcept;
void set_bug_details(BugDetails details) noexcept;

}  // namespace fiberd

/// Evaluates to true when the condition is broken, so that a caller can leave: `if (FIBERD_BUG_IF(x < 0)) return;`
#define FIBERD_BUG_IF(condition) (__builtin_expect(!!(condition), 0) ? (::fiberd::report_bug(#condition), true) : false)
