#include "daemon/calm_trim.hpp"

#include <catch2/catch.hpp>

using namespace fiberd;

namespace {

constexpr std::uint64_t kMiB = std::uint64_t{1} << 20U;

/// Looks once a second, with so much CPU time in each.
struct Clock {
  daemon::CalmTrim trim{};
  std::int64_t now = 1;
  std::uint64_t cpu = 0;
  /// How many of so many looks said that it is time.
  unsigned looks(unsigned n, std::uint64_t resident, std::uint64_t cpu_ms) {
    unsigned due = 0;
    for (unsigned i = 0; i < n; ++i) {
      now += 1'000'000'000;
      cpu += cpu_ms * 1'000'000;
      due += trim.due(now, resident, cpu) ? 1 : 0;
    }
    return due;
  }
};

}  // namespace

TEST_CASE("what a crowd has left goes back once it is calm, and once", "[memory][trim]") {
  Clock c;
  CHECK(c.looks(20, 20 * kMiB, 5) == 0);    // as it began
  CHECK(c.looks(20, 60 * kMiB, 500) == 0);  // at work
  CHECK(c.looks(2, 60 * kMiB, 5) == 0);     // a pause
  CHECK(c.looks(20, 60 * kMiB, 500) == 0);
  CHECK(c.looks(3, 60 * kMiB, 5) == 1);
  CHECK(c.looks(100, 30 * kMiB, 5) == 0);  // what is left is in use
  CHECK(c.looks(100, 32 * kMiB, 5) == 0);  // little more is not worth it
  CHECK(c.looks(4, 40 * kMiB, 5) == 1);
  CHECK(c.looks(100, 40 * kMiB, 5) == 0);  // nothing went back: it is not tried again
}
