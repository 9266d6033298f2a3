// A program whose handler spends CPU time in functions that a profile must name: one of them static, which the dynamic
// linker does not know.
#include <chrono>
#include <cstdint>
#include <fiberd/core/runtime/profile_label.hpp>
#include <fiberd/daemon/daemon.hpp>

using namespace fiberd;

[[gnu::noinline]] static std::uint64_t burn_in_static(std::uint64_t seed) {
  for (int i = 0; i < 2'000'000; ++i) seed = (seed ^ (seed >> 7U)) * 0x9E3779B97F4A7C15U + static_cast<unsigned>(i);
  return seed;
}

namespace hog {
[[gnu::noinline]] std::uint64_t spend_time(std::chrono::milliseconds time) {
  std::uint64_t sum = 1;
  const auto until = std::chrono::steady_clock::now() + time;
  while (std::chrono::steady_clock::now() < until) sum += burn_in_static(sum);
  return sum;
}
}  // namespace hog

int main(int argc, char** argv) {
  daemon::Daemon daemon;
  daemon.handle("hog", [](http::Exchange& exchange) {
    const runtime::ProfileLabel label("tenant", "a \"quoted\"\nname");
    const std::uint64_t sum = hog::spend_time(std::chrono::milliseconds(2500));
    return exchange.respond(200, "text/plain", std::to_string(sum));
  });
  return daemon.main(argc, argv);
}
