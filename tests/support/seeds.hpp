#pragma once
// Tests over many seeds: the same scenario under as many schedules, and the number of the one that broke it.
//
//   test::for_each_simulation(10'000, [](std::uint64_t seed) {   // on the main fiber of Simulation(seed)
//     …spawn, wait…
//     test::invariant(sum == 250, "an increment was lost");
//   });
//
// The first failure ends the test case and names its seed; FIBERD_SEED=n runs exactly that seed.
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>

namespace fiberd::test {

struct BrokenInvariant : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// Throws BrokenInvariant. On the fiber that runs the scenario, so that it ends it: another fiber's exception is logged
/// and forgotten.
inline void invariant(bool holds, const std::string& what) {
  if (!holds) throw BrokenInvariant(what);
}

/// What broke first, with its seed and how to replay it; "" if nothing. The scenario says "broken" by an exception or
/// by returning what is wrong. Seeds 0 … count-1, or only FIBERD_SEED if that is set.
[[nodiscard]] std::string first_broken_seed(std::uint64_t count,
                                            const std::function<std::string(std::uint64_t seed)>& scenario);

/// One simulation; a deadlock and an exception that leaves `body` are returned as text.
[[nodiscard]] std::string simulate(std::uint64_t seed, const std::function<void(std::uint64_t seed)>& body);

/// Fails the running test case (Catch's FAIL) at the first broken seed. Main thread only. Under a sanitizer: `count`/50
/// seeds.
void for_each_seed(std::uint64_t count, const std::function<std::string(std::uint64_t seed)>& scenario);
void for_each_simulation(std::uint64_t count, const std::function<void(std::uint64_t seed)>& body);

}  // namespace fiberd::test
