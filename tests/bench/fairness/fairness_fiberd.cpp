// What fairness.py runs, for fiberd; go_fairness/main.go does the same in Go.
//   fairness_fiberd turns PROCESSORS SECONDS    1,000 fibers that compute 50 µs and yield
//   fairness_fiberd timers PROCESSORS SECONDS   sleeps of 1 ms beside 8 fibers that compute 600 µs and yield
//   fairness_fiberd pinned 1 SECONDS            a fiber beside two pinned ones that yield to each other
#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;

namespace {

void compute(std::int64_t ns) {
  const std::int64_t end = monotonic_now() + ns;
  while (monotonic_now() < end) {
  }
}

template <class T>
T quantile(std::vector<T> values, double q) {
  if (values.empty()) return T{};
  std::sort(values.begin(), values.end());
  return values[std::min(values.size() - 1, static_cast<std::size_t>(q * static_cast<double>(values.size())))];
}

void turns(unsigned processors, double seconds) {
  struct Player {
    std::int64_t turns = 0;
    std::int64_t longest = 0;
  };
  std::vector<Player> players(1000);
  {
    auto rt = *Runtime::start({.gomaxprocs = processors});
    rt->run([&] {
      const std::int64_t end = monotonic_now() + static_cast<std::int64_t>(seconds * 1e9);
      for (Player& player : players)
        (void)spawn("player", [&player, end, left = monotonic_now()]() mutable {
          for (;;) {
            const std::int64_t now = monotonic_now();
            player.longest = std::max(player.longest, now - left);
            if (now >= end) return;
            compute(50'000);
            ++player.turns;
            left = monotonic_now();
            yield();
          }
        });
    });
  }
  std::vector<std::int64_t> counts;
  std::vector<std::int64_t> waits;
  for (const Player& p : players) {
    counts.push_back(p.turns);
    waits.push_back(p.longest);
  }
  std::printf("%lld %lld %.3f %.3f\n", static_cast<long long>(quantile(counts, 0)),
              static_cast<long long>(quantile(counts, 0.5)), static_cast<double>(quantile(waits, 0.5)) * 1e-6,
              static_cast<double>(quantile(waits, 1)) * 1e-6);
}

void timers(unsigned processors, double seconds) {
  std::vector<double> late;
  {
    auto rt = *Runtime::start({.gomaxprocs = processors});
    rt->run([&] {
      const std::int64_t end = monotonic_now() + static_cast<std::int64_t>(seconds * 1e9);
      for (int i = 0; i < 8; ++i)
        (void)spawn("slice", [end] {
          while (monotonic_now() < end) {
            compute(600'000);
            yield();
          }
        });
      while (monotonic_now() < end) {
        const std::int64_t begin = monotonic_now();
        (void)sleep_for(std::chrono::milliseconds(1));
        late.push_back(static_cast<double>(monotonic_now() - begin - 1'000'000) * 1e-6);
      }
    });
  }
  std::printf("%.3f %.3f %.3f\n", quantile(late, 0.5), quantile(late, 0.99), quantile(late, 1));
}

void pinned(double seconds) {
  std::vector<std::int64_t> counts(3);
  {
    auto rt = *Runtime::start({.gomaxprocs = 1});
    rt->run([&] {
      const std::int64_t end = monotonic_now() + static_cast<std::int64_t>(seconds * 1e9);
      for (std::size_t i = 0; i < counts.size(); ++i)
        (void)spawn("yielder", [&counts, i, end] {
          const auto run = [&] {
            while (monotonic_now() < end) {
              ++counts[i];
              yield();
            }
          };
          if (i == 2) return run();
          const Pin pin;
          run();
        });
    });
  }
  std::printf("%.3f\n", static_cast<double>(counts[2]) / static_cast<double>(counts[0] + counts[1] + counts[2]));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) return 2;
  const auto processors = static_cast<unsigned>(std::atoi(argv[2]));
  const double seconds = std::atof(argv[3]);
  if (std::strcmp(argv[1], "turns") == 0) {
    turns(processors, seconds);
  } else if (std::strcmp(argv[1], "timers") == 0) {
    timers(processors, seconds);
  } else {
    pinned(seconds);
  }
}
