#pragma once
// Priority: who goes first where not all can be served.
#include <cstddef>
#include <cstdint>

namespace fiberd::flow {

enum class Priority : std::uint8_t { low, normal, high };
inline constexpr std::size_t kPriorities = 3;

}  // namespace fiberd::flow
