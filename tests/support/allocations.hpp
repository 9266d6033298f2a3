#pragma once
// Counts calls of operator new, for tests that say "this does not allocate". A binary that uses it gets a replaced
// operator new; the count is of the whole process, so compare it while nobody else runs.
#include <cstddef>
#include <cstdint>

namespace fiberd::test {

[[nodiscard]] std::uint64_t allocations() noexcept;
/// From now on operator new throws for whoever wants so many bytes or more, on every thread; SIZE_MAX: for nobody.
void fail_allocations_of(std::size_t bytes) noexcept;
/// From now on operator new has nothing for the thread that calls this; or has again, for all.
void refuse_allocations_here(bool refuse) noexcept;
/// From now on operator new asks `refused` each time, on every thread, and has nothing where that is true. It must not
/// allocate.
void refuse_allocations_where(bool (*refused)() noexcept) noexcept;

}  // namespace fiberd::test
