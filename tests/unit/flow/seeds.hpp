#pragma once
// How many seeds a simulation is run with. Sanitizers make each some hundred times slower, and a simulation has one
// thread: what they find, they find with few.
#include <cstdint>

namespace fiberd::test {
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
inline constexpr std::uint64_t kSeeds = 200;
#else
inline constexpr std::uint64_t kSeeds = 10'000;
#endif
}  // namespace fiberd::test
