#pragma once
// Spans and a beginning, in nanoseconds, for tests that say what time it is.
#include <cstdint>

namespace fiberd::test {

inline constexpr std::int64_t kMs = 1'000'000;
inline constexpr std::int64_t kSecond = 1'000 * kMs;
inline constexpr std::int64_t kStart = 7'777'777'777'777;  ///< some hours after boot

}  // namespace fiberd::test
