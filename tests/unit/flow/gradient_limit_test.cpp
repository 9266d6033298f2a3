#include "core/flow/gradient_limit.hpp"

#include <catch2/catch.hpp>

#include "core/base/random.hpp"
#include "tests/unit/flow/times.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using flow::GradientLimit;
using test::kMs;

/// Little's law: a server that does `capacity` at once in 10 ms; more only wait. The limit is used up always.
static double settle(GradientLimit& limit, double capacity, int seconds, std::int64_t& now) {
  Random random(1);
  double sum = 0;
  int n = 0;
  for (const std::int64_t end = now + seconds * 1000 * kMs; now < end;) {
    const double under_way = limit.limit();
    const double latency = 10.0 * kMs * std::max(1.0, under_way / capacity) * (0.95 + random.below(100) * 0.001);
    now += static_cast<std::int64_t>(latency / under_way);
    limit.sample(now, static_cast<std::int64_t>(latency), limit.limit());
    sum += limit.limit();
    ++n;
  }
  return sum / n;
}

TEST_CASE("the limit grows while the latency does not, and stops where a queue begins", "[gradient_limit]") {
  GradientLimit limit({.least = 1, .most = 1000, .tolerance = 1.0}, 10);
  std::int64_t now = 1'000'000 * kMs;
  (void)settle(limit, 100, 5, now);
  const double in_five = limit.limit();
  CHECK(in_five > 12);
  CHECK(in_five < 300);
  (void)settle(limit, 100, 60, now);
  CHECK(limit.limit() >= 80);
  CHECK(limit.limit() <= 400);
}

TEST_CASE("when everything becomes slower the limit shrinks", "[gradient_limit]") {
  GradientLimit limit({.least = 5, .most = 200}, 100);
  std::int64_t now = 1'000'000 * kMs;
  for (int i = 0; i < 20'000; ++i, now += kMs) limit.sample(now, 10 * kMs, limit.limit());
  const std::uint32_t before = limit.limit();
  for (int i = 0; i < 2000; ++i, now += kMs) limit.sample(now, 100 * kMs, limit.limit());
  CHECK(before == 200);
  CHECK(limit.limit() < before * 6 / 10);
  CHECK(limit.limit() >= 5);
}

TEST_CASE("nothing is learnt while the limit is not used", "[gradient_limit]") {
  GradientLimit limit({.least = 1, .most = 1000}, 100);
  std::int64_t now = 1'000'000 * kMs;
  for (int i = 0; i < 5000; ++i, now += kMs) limit.sample(now, (i % 7 + 1) * 10 * kMs, 30);
  CHECK(limit.limit() == 100);
}

TEST_CASE("overload shrinks it by a tenth a window, to the least", "[gradient_limit]") {
  GradientLimit limit({.least = 7, .most = 1000, .window = 100ms, .least_samples = 10}, 100);
  std::int64_t now = 1'000'000 * kMs;
  int changes = 0;
  while (changes == 0) changes += limit.overload(now += 10 * kMs, 100);
  CHECK(limit.limit() == 90);
  for (int i = 0; i < 1000; ++i) limit.overload(now += 10 * kMs, 100);
  CHECK(limit.limit() == 7);
}

TEST_CASE("bounds are kept, also odd ones", "[gradient_limit]") {
  CHECK(GradientLimit({.least = 10, .most = 20}, 5).limit() == 10);
  CHECK(GradientLimit({.least = 10, .most = 20}, 50).limit() == 20);
  CHECK(GradientLimit({.least = 10, .most = 2}, 50).limit() == 10);
  GradientLimit limit({.least = 2, .most = 4}, 3);
  std::int64_t now = 1;
  for (int i = 0; i < 5000; ++i) {
    limit.sample(now += kMs, i % 2 == 0 ? -5 : 0, 4);
    CHECK((limit.limit() >= 2 && limit.limit() <= 4));
  }
}
