#pragma once
// What the C++ programs of the toolkit benchmark share: the command line, the clocks and the line they print. Knows
// nothing of fiberd: the Boost program uses it too. The Go program prints the same line.
//
//   PROGRAM CASE GOMAXPROCS OPERATIONS
//
// A case is run once with a tenth of the operations, unmeasured, then once with all of them.
#include <sys/resource.h>
#include <time.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string>
#include <string_view>

namespace toolkit {

struct Arguments {
  std::string_view name;
  unsigned gomaxprocs = 0;
  std::int64_t operations = 0;
};

/// False, and a line on stderr, when they make no sense.
inline bool parse(int argc, char** argv, Arguments& arguments) {
  if (argc >= 4) {
    arguments = {argv[1], static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)),
                 std::strtoll(argv[3], nullptr, 10)};
    if (arguments.gomaxprocs > 0 && arguments.operations >= 1000) return true;
  }
  std::fprintf(stderr, "usage: %s CASE GOMAXPROCS OPERATIONS (at least 1000)\n", argv[0]);
  return false;
}

inline std::int64_t wall_ns() {
  timespec t{};
  clock_gettime(CLOCK_MONOTONIC, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

/// User and system time of all threads of the process.
inline std::int64_t cpu_ns() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return (std::int64_t{u.ru_utime.tv_sec} + u.ru_stime.tv_sec) * 1'000'000'000 +
         (std::int64_t{u.ru_utime.tv_usec} + u.ru_stime.tv_usec) * 1000;
}

/// Highest resident size of the process so far, bytes.
inline std::int64_t peak_rss() {
  rusage u{};
  getrusage(RUSAGE_SELF, &u);
  return std::int64_t{u.ru_maxrss} * 1024;
}

/// Runs `body`, which returns whether its result is right, and prints the line. Returns the process's exit code.
inline int measure(const Arguments& arguments, const std::function<bool(std::int64_t operations)>& body) {
  bool ok = body(arguments.operations / 10);
  const std::int64_t cpu = cpu_ns();
  const std::int64_t begin = wall_ns();
  ok = body(arguments.operations) && ok;
  const auto wall_took = static_cast<double>(wall_ns() - begin);
  const auto cpu_took = static_cast<double>(cpu_ns() - cpu);
  const auto n = static_cast<double>(arguments.operations);
  std::printf(
      "{\"case\": \"%s\", \"gomaxprocs\": %u, \"operations\": %lld, \"wall_ns\": %.2f, \"cpu_ns\": %.2f, "
      "\"peak_rss\": %lld, \"ok\": %s}\n",
      std::string(arguments.name).c_str(), arguments.gomaxprocs, static_cast<long long>(arguments.operations),
      wall_took / n, cpu_took / n, static_cast<long long>(peak_rss()), ok ? "true" : "false");
  return ok ? 0 : 1;
}

/// 0 + 1 + … + (n - 1).
constexpr std::int64_t sum_below(std::int64_t n) { return n * (n - 1) / 2; }

// The numbers that all three programs agree on.
inline constexpr std::int64_t kBuffer = 128;
inline constexpr std::int64_t kMutexFibers = 100;
inline constexpr std::int64_t kHeldEvery = 4;  ///< `mutex`: in one round of four the holder lets the others run
inline constexpr std::int64_t kBatch = 1000;   ///< `spawn_join`: fibers at once
inline constexpr std::int64_t kSkynetChildren = 10;

}  // namespace toolkit
