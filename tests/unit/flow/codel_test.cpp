#include "core/flow/codel.hpp"

#include <catch2/catch.hpp>
#include <vector>

#include "tests/unit/flow/times.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using flow::CoDel;
using test::kMs;

TEST_CASE("CoDel drops after an interval above target, then ever more often (RFC 8289, 5.3)", "[codel]") {
  CoDel codel({.target = 5ms, .interval = 100ms});
  std::vector<std::int64_t> drops;
  const std::int64_t begin = 1'000'000 * kMs;
  for (std::int64_t t = 0; t < 600; ++t)
    while (codel.drop(begin + t * kMs, 20 * kMs, 10)) drops.push_back(t);
  // 100; + 100; then + 100/sqrt(2), 100/sqrt(3), …
  const std::vector<std::int64_t> first(drops.begin(), drops.begin() + 5);
  CHECK(first == std::vector<std::int64_t>{100, 200, 271, 329, 379});
}

TEST_CASE("CoDel stops at once when the wait is below target, or nobody is behind", "[codel]") {
  CoDel codel;
  const std::int64_t begin = 1'000'000 * kMs;
  std::int64_t t = 0;
  while (!codel.drop(begin + t * kMs, 20 * kMs, 10)) ++t;
  CHECK(t == 100);
  CHECK(codel.dropping());
  CHECK_FALSE(codel.drop(begin + (t + 500) * kMs, 4 * kMs, 10));
  CHECK_FALSE(codel.dropping());
  for (int i = 0; i < 1000; ++i) CHECK_FALSE(codel.drop(begin + (t + 501 + i) * kMs, 500 * kMs, 0));
}

TEST_CASE("a burst that drains within the interval is left alone", "[codel]") {
  CoDel codel;
  int dropped = 0;
  for (int burst = 0; burst < 10; ++burst) {
    for (std::int64_t i = 0; i < 90; ++i)
      dropped += codel.drop((1000 + burst * 200 + i) * kMs, i * kMs, static_cast<std::size_t>(90 - i - 1));
    codel.empty();
  }
  CHECK(dropped == 0);
}

TEST_CASE("soon after a bad time CoDel goes on near where it was", "[codel]") {
  CoDel codel;
  std::int64_t now = 1'000'000 * kMs;
  int drops = 0;
  for (int i = 0; i < 2000; ++i, now += kMs) drops += codel.drop(now, 20 * kMs, 10);
  CHECK(drops > 20);
  CHECK_FALSE(codel.drop(now, 0, 10));
  std::vector<std::int64_t> again;
  for (int i = 0; i < 200; ++i, now += kMs)
    if (codel.drop(now, 20 * kMs, 10)) again.push_back(i);
  REQUIRE(again.size() >= 3);
  CHECK(again[1] - again[0] < 30);  // not 100
}

TEST_CASE("target zero is off", "[codel]") {
  CoDel codel({.target = 0ns, .interval = 100ms});
  for (int i = 0; i < 1000; ++i) CHECK_FALSE(codel.drop(i * 100 * kMs, 1000 * kMs, 100));
}
