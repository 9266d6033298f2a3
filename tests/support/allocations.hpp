#pragma once
// Counts calls of operator new, for tests that say "this does not allocate". A binary that uses it gets a replaced
// operator new; the count is of the whole process, so compare it while nobody else runs.
#include <cstdint>

namespace fiberd::test {

[[nodiscard]] std::uint64_t allocations() noexcept;

}  // namespace fiberd::test
