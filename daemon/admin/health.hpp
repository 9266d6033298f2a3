#pragma once
// Whether the daemon is alive.
#include <chrono>
#include <string>

namespace fiberd::daemon {

/// Whether every Processor takes up a new fiber within `patience`; else `why` not, which is logged, too. On a fiber.
[[nodiscard]] bool processors_answer(std::chrono::nanoseconds patience, std::string& why);

}  // namespace fiberd::daemon
