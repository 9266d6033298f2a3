#pragma once
// Simulation: fibers on one Processor, on the calling thread, with virtual time and a scheduler that draws from a seed
// which runnable fiber goes next. The same seed gives the same run. Sleeping costs no time: when nobody is runnable the
// clock jumps to the next timer. When there is none, everybody waits for ever: a deadlock, reported with every fiber.
//
// Descriptors are not simulated: a PollDescriptor wait in a simulation is an error. blocking() runs its job in place.
#include <cstdint>
#include <functional>
#include <string>

#include "core/base/unique_function.hpp"

namespace fiberd::runtime {

class Simulation {
 public:
  struct Outcome {
    bool deadlock = false;
    std::string report;        ///< on deadlock: a line per fiber: name, wait reason, spawn site, trace
    std::uint64_t fibers = 0;  ///< created
    std::uint64_t switches = 0;
    std::int64_t elapsed_ns = 0;  ///< virtual time
  };

  explicit Simulation(std::uint64_t seed) noexcept : seed_(seed) {}

  /// Runs `main` and everything it spawns to the end. An exception that leaves `main` is rethrown. No other Runtime or
  /// Simulation may live in the process meanwhile (std::system_error). On deadlock the waiting fibers are abandoned:
  /// what their stacks and their functions own is leaked.
  Outcome run(UniqueFunction main);

  [[nodiscard]] std::uint64_t seed() const noexcept { return seed_; }

 private:
  std::uint64_t seed_;
};

}  // namespace fiberd::runtime
