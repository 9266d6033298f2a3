#pragma once
#include <cstddef>

namespace fiberd {
/// Two lines on x86-64, because its prefetcher pulls them in pairs, would be 128; 64 separates writers well enough
/// here.
inline constexpr std::size_t kCacheLine = 64;
}  // namespace fiberd
