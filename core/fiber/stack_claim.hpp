#pragma once
// StackClaim: who a stack is for, when there are hardly any left.
#include <cstdint>

namespace fiberd::fiber {

/// Some stacks are set aside when a pool is made; a claim says which of them it may have when all others are out.
enum class StackClaim : std::uint8_t {
  ordinary,  ///< none: serves somebody
  report,    ///< those not kept for `finish`: tells how things stand (metrics, health)
  finish,    ///< all of them: drains and stops
};

}  // namespace fiberd::fiber
