#include "tests/support/seeds.hpp"

#include <catch2/catch.hpp>

#include <cerrno>
#include <cstdlib>
#include <exception>

#include "core/runtime/recover.hpp"
#include "core/runtime/simulation.hpp"

namespace fiberd::test {

static std::string run_one(std::uint64_t seed, const std::function<std::string(std::uint64_t)>& scenario) {
  std::string broken;
  if (const runtime::Recovered thrown = runtime::recover([&] { broken = scenario(seed); })) broken = thrown.what();
  if (broken.empty()) return broken;
  return "seed " + std::to_string(seed) + ": " + broken + "\nreplay it with FIBERD_SEED=" + std::to_string(seed);
}

std::string first_broken_seed(std::uint64_t count, const std::function<std::string(std::uint64_t seed)>& scenario) {
  if (const char* const text = std::getenv("FIBERD_SEED")) {
    char* end = nullptr;
    errno = 0;
    const std::uint64_t seed = std::strtoull(text, &end, 10);
    if (end == text || *end != '\0' || errno != 0 || *text == '-')
      return "FIBERD_SEED=" + std::string(text) + " is not a number";
    return run_one(seed, scenario);
  }
  for (std::uint64_t seed = 0; seed < count; ++seed)
    if (std::string broken = run_one(seed, scenario); !broken.empty()) return broken;
  return {};
}

std::string simulate(std::uint64_t seed, const std::function<void(std::uint64_t seed)>& body) {
  const auto outcome = runtime::Simulation(seed).run([&] { body(seed); });
  return outcome.deadlock ? "deadlock:\n" + outcome.report : "";
}

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
// A simulation is one thread, and many times slower under a sanitizer: enough to see its stacks and lifetimes.
static constexpr std::uint64_t kShare = 50;
#else
static constexpr std::uint64_t kShare = 1;
#endif

void for_each_seed(std::uint64_t count, const std::function<std::string(std::uint64_t seed)>& scenario) {
  if (const std::string broken = first_broken_seed(count / kShare, scenario); !broken.empty()) FAIL(broken);
  SUCCEED();
}

void for_each_simulation(std::uint64_t count, const std::function<void(std::uint64_t seed)>& body) {
  for_each_seed(count, [&](std::uint64_t seed) { return simulate(seed, body); });
}

}  // namespace fiberd::test
