#pragma once
// What a Poller knows of the descriptors registered in it: how to hand them an event.
#include <cstdint>

namespace fiberd::runtime {

/// In the scheduler. Ignores events of another generation: the descriptor was closed, or closed and reused.
void deliver_to_descriptor(void* descriptor, std::uint16_t generation, std::uint32_t events) noexcept;

}  // namespace fiberd::runtime
