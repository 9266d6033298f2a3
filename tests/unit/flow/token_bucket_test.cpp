#include "core/flow/token_bucket.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "core/base/random.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/unit/flow/drain.hpp"
#include "tests/unit/flow/seeds.hpp"
#include "tests/unit/flow/times.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using flow::errc;
using flow::Reservation;
using flow::TokenBucket;
using runtime::Simulation;
using test::drain;
using test::kSecond;
using test::kStart;

namespace {

constexpr std::int64_t kYear = 365 * 86'400 * kSecond;

}  // namespace

TEST_CASE("sixty seconds admit burst + 60 rates, to the token, at any rate", "[token_bucket]") {
  for (const double rate : {3.0, 7.0, 1.0 / 3600, 0.1, 12'000.0, 1e6, 999'999.0, 44'100.0, 7e8, 999'999'937.0, 1e9}) {
    for (const std::int64_t step : {1'000'003, 333'333'333, 17, 1'000'000'000}) {
      if (step == 17 && rate > 1) continue;
      const auto burst = std::max<std::int64_t>(1, static_cast<std::int64_t>(rate * 2));
      TokenBucket bucket(rate, burst);
      std::int64_t n = 0;
      const std::int64_t span = step == 17 ? kSecond / 1000 : 60 * kSecond;
      for (std::int64_t t = 0; t < span; t += step) n += drain(bucket, kStart + t);
      n += drain(bucket, kStart + span);
      const double expected =
          static_cast<double>(burst) + std::floor(rate * static_cast<double>(span) / 1e9 * (1 + 1e-15) + 1e-9);
      INFO("rate " << rate << " step " << step);
      CHECK(std::abs(static_cast<double>(n) - expected) <= std::max(1.0, rate * 3e-9));
    }
  }
}

TEST_CASE("a year does not drift", "[token_bucket]") {
  TokenBucket bucket(3, 1'000'000'000);
  CHECK(drain(bucket, kStart) == 1'000'000'000);
  std::int64_t n = 0;
  for (int i = 1; i <= 1000; ++i) n += drain(bucket, kStart + kYear / 1000 * i);
  CHECK(std::abs(n - 3 * 365 * 86'400LL) <= 1);
}

TEST_CASE("every decision is that of an exact bucket, give or take two nanoseconds", "[token_bucket][model]") {
  Random random(1);
  for (int round = 0; round < 300; ++round) {
    const std::int64_t rate = 1 + random.below(round % 3 == 0 ? 10 : round % 3 == 1 ? 100'000 : 1'000'000'000);
    const std::int64_t burst = 1 + random.below(50);
    TokenBucket bucket(static_cast<double>(rate), burst);
    using Wide = __int128;
    const Wide token = kSecond;
    Wide level = burst * token;
    std::int64_t now = kStart + random.below(1'000'000'000);
    int wrong = 0;
    for (int i = 0; i < 2000; ++i) {
      const std::int64_t dt = random.below(static_cast<std::uint32_t>(
          std::min<std::int64_t>(std::max<std::int64_t>(4 * kSecond / rate, 4), 2'000'000'000)));
      now += dt;
      level = std::min<Wide>(burst * token, level + Wide(dt) * rate);
      const std::int64_t n = 1 + random.below(3);
      const Wide slack = Wide(2) * rate;
      if (bucket.try_take_at(now, n)) {
        if (level + slack < n * token) ++wrong;
        level -= n * token;
      } else if (n <= burst && level - slack >= n * token) {
        ++wrong;
      }
    }
    INFO("rate " << rate << " burst " << burst);
    CHECK(wrong == 0);
  }
}

TEST_CASE("sixteen threads on one clock get exactly what there is", "[token_bucket][threads]") {
  constexpr int kThreads = 16;
  constexpr std::int64_t kEach = 20'000;
  constexpr std::int64_t kStep = 997;
  TokenBucket bucket(1'000'000, 100'000);
  std::atomic<std::int64_t> clock{kStart};
  std::atomic<std::int64_t> total{0};
  std::atomic<std::int64_t> too_many{0};
  total += drain(bucket, kStart);
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      for (std::int64_t i = 0; i < kEach; ++i) {
        const std::int64_t now = clock.fetch_add(kStep) + kStep;
        std::int64_t n = 0;
        while (bucket.try_take_at(now)) ++n;
        total.fetch_add(n);
        // What all have by now may not be more than what the furthest clock allows.
        const std::int64_t sum = total.load();
        if (sum > 100'000 + (clock.load() - kStart) / 1000 + 1) too_many.fetch_add(1);
      }
    });
  for (std::thread& t : threads) t.join();
  const std::int64_t end = kStart + kThreads * kEach * kStep;
  CHECK(clock.load() == end);
  total += drain(bucket, end);
  CHECK(total.load() == 100'000 + (end - kStart) / 1000);
  CHECK(too_many == 0);
}

TEST_CASE("sixteen threads on the real clock never get more", "[token_bucket][threads]") {
  TokenBucket bucket(200'000, 1000);
  std::atomic<std::int64_t> total{0};
  const std::int64_t begin = monotonic_now();
  std::vector<std::thread> threads;
  for (int t = 0; t < 16; ++t)
    threads.emplace_back([&] {
      while (monotonic_now() - begin < 200'000'000)
        if (bucket.try_take()) total.fetch_add(1);
    });
  for (std::thread& t : threads) t.join();
  const std::int64_t span = monotonic_now() - begin;
  CHECK(total.load() <= 1000 + span / 5000 + 1);
  CHECK(total.load() >= 1000);
}

TEST_CASE("sixteen producers for a minute are admitted the rate within 0.1 %", "[.nightly][token_bucket]") {
  for (const double rate : {1'000'000.0, 3.0}) {
    // A burst of a second: while the machine lets none of the threads run, tokens must have a place.
    const auto burst = static_cast<std::int64_t>(rate);
    TokenBucket bucket(rate, burst);
    std::atomic<std::int64_t> total{0};
    const std::int64_t begin = monotonic_now();
    std::vector<std::thread> threads;
    for (int t = 0; t < 16; ++t)
      threads.emplace_back([&] {
        std::int64_t mine = 0;
        while (monotonic_now() - begin < 60 * kSecond)
          if (bucket.try_take()) ++mine;
        total.fetch_add(mine);
      });
    for (std::thread& t : threads) t.join();
    const double span = static_cast<double>(monotonic_now() - begin) / 1e9;
    const double admitted = static_cast<double>(total.load() - burst);
    INFO("rate " << rate << ": " << admitted << " in " << span << " s");
    CHECK(admitted <= rate * span + 1);
    CHECK(admitted >= std::floor(rate * 60) * 0.999);
  }
}

TEST_CASE("odd rates and bursts", "[token_bucket]") {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  for (const double rate : {0.0, -1.0, -kInfinity, std::numeric_limits<double>::quiet_NaN()}) {
    TokenBucket bucket(rate, 2);
    CHECK(bucket.try_take_at(kStart));
    CHECK(bucket.try_take_at(kStart));
    CHECK_FALSE(bucket.try_take_at(kStart));
    CHECK_FALSE(bucket.try_take_at(kStart + kYear));
    CHECK(bucket.time_until_at(kStart) == std::chrono::nanoseconds::max());
    CHECK_FALSE(bucket.reserve_at(kStart).ok());
  }
  TokenBucket unlimited(kInfinity, 0);
  CHECK(unlimited.try_take_at(kStart, 1'000'000'000'000));
  CHECK(unlimited.reserve_at(kStart, 5).delay() == 0ns);
  CHECK(unlimited.available_at(kStart) == INT64_MAX);
  TokenBucket faster(2e9, 1);
  CHECK(faster.try_take_at(kStart, 100));
  for (const std::int64_t burst : {std::int64_t{0}, std::int64_t{-5}, INT64_MIN}) {
    TokenBucket none(1000, burst);
    CHECK(none.burst() == 0);
    CHECK_FALSE(none.try_take_at(kStart));
    CHECK_FALSE(none.try_take_at(kStart + kSecond));
    CHECK_FALSE(none.reserve_at(kStart).ok());
    CHECK(none.try_take_at(kStart, 0));
    CHECK(none.try_take_at(kStart, -1));
  }
  TokenBucket huge(1e9, INT64_MAX);
  CHECK(huge.burst() == std::int64_t{1} << 61U);
  CHECK(huge.try_take_at(kStart, huge.burst()));
  CHECK_FALSE(huge.try_take_at(kStart));
  CHECK(huge.reserve_at(kStart, huge.burst()).ok());
  CHECK_FALSE(huge.reserve_at(kStart, huge.burst()).ok());  // further than promises reach
  TokenBucket slow(1e-12, 1000);
  CHECK(slow.try_take_at(kStart, 1000));
  CHECK_FALSE(slow.try_take_at(kStart + kYear));
  TokenBucket three(3, 3);
  CHECK_FALSE(three.try_take_at(kStart, 4));
  CHECK(three.time_until_at(kStart, 4) == std::chrono::nanoseconds::max());
  CHECK(three.try_take_at(kStart, 3));
}

TEST_CASE("a clock that jumps: forward one burst, back nothing until it has caught up", "[token_bucket]") {
  TokenBucket bucket(10, 5);
  CHECK(drain(bucket, kStart) == 5);
  CHECK(drain(bucket, kStart + kYear) == 5);
  TokenBucket back(10, 5);
  CHECK(drain(back, kStart) == 5);
  CHECK(drain(back, kStart - 3600 * kSecond) == 0);
  CHECK(drain(back, -1) == 0);
  CHECK(drain(back, kStart) == 0);
  CHECK(drain(back, kStart + kSecond / 10) == 1);
}

TEST_CASE("reservations promise a time, and cancelling gives back what others do not rely on", "[token_bucket]") {
  TokenBucket bucket(10, 1);
  CHECK(bucket.reserve_at(kStart).delay() == 0ns);
  Reservation second = bucket.reserve_at(kStart);
  Reservation third = bucket.reserve_at(kStart);
  CHECK(second.delay() >= 100ms);
  CHECK(second.delay() <= 100ms + 4ns);
  CHECK(third.delay() >= 200ms);
  CHECK(third.delay() <= 200ms + 4ns);
  CHECK_FALSE(bucket.reserve_at(kStart, 1, 299ms).ok());
  CHECK_FALSE(bucket.try_take_at(kStart + kSecond / 10));  // it is the second's
  third.cancel(kStart);
  third.cancel(kStart);  // nothing more
  CHECK(bucket.reserve_at(kStart, 1, 201ms).ok());
  second.cancel(kStart);  // somebody stands behind it: nothing comes back
  CHECK_FALSE(bucket.try_take_at(kStart + 2 * kSecond / 10));
  CHECK(bucket.try_take_at(kStart + 3 * kSecond / 10 + 10));
  Reservation due = bucket.reserve_at(kStart + 4 * kSecond, 1);
  CHECK(due.delay() == 0ns);
  due.cancel(kStart + 4 * kSecond);  // its time has come
  CHECK_FALSE(bucket.try_take_at(kStart + 4 * kSecond));
  Reservation none;
  none.cancel();
  CHECK_FALSE(none.ok());
}

TEST_CASE("wait takes turns, at the rate, and not beyond a deadline", "[token_bucket][simulation]") {
  int wrong = 0;
  for (std::uint64_t seed = 0; seed < test::kSeeds / 20; ++seed) {
    TokenBucket bucket(1000, 2);
    std::vector<std::int64_t> times;
    int in_vain = 0;
    int canceled = 0;
    std::int64_t begin = 0;
    Simulation(seed).run([&] {
      begin = monotonic_now();
      for (int i = 0; i < 20; ++i)
        (void)runtime::spawn("w", [&] {
          if (bucket.wait()) times.push_back(monotonic_now());
        });
      for (int i = 0; i < 5; ++i)
        (void)runtime::spawn("short", [&] {
          const auto c = context::with_timeout(context::background(), 1us);
          while (bucket.available() > 0) (void)bucket.try_take();
          const std::int64_t asked = monotonic_now();
          const std::error_code error = error_of(bucket.wait(c.context));
          // Refused at once, not when the deadline has passed.
          if (error && (monotonic_now() - asked < 1'000)) ++in_vain;
          c.cancel();
        });
      for (int i = 0; i < 5; ++i)
        (void)runtime::spawn("canceled", [&] {
          const auto c = context::with_cancel(context::background());
          (void)runtime::spawn("canceler", [cancel = c.cancel] { cancel(); });
          if (error_of(bucket.wait(c.context)) == context::errc::canceled) ++canceled;
        });
    });
    if (times.size() != 20) ++wrong;
    // The k-th admission is no earlier than the rate allows.
    for (std::size_t k = 2; k < times.size(); ++k)
      if (times[k] - begin < static_cast<std::int64_t>(k - 1) * 1'000'000 - 10) ++wrong;
    if (in_vain != 5) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("wait refuses at once what can never be", "[token_bucket][simulation]") {
  std::error_code too_many;
  std::error_code never;
  std::error_code done;
  std::error_code late;
  std::int64_t left = 0;
  std::int64_t passed = 0;
  Simulation(1).run([&] {
    TokenBucket bucket(1, 2);
    too_many = error_of(bucket.wait(3));
    TokenBucket dry(0, 1);
    (void)dry.try_take();
    never = error_of(dry.wait());
    const auto c = context::with_cancel(context::background());
    c.cancel();
    done = error_of(bucket.wait(c.context));
    (void)bucket.try_take(2);
    const auto soon = context::with_timeout(context::background(), 500ms);
    const std::int64_t begin = monotonic_now();
    late = error_of(bucket.wait(soon.context));
    passed = monotonic_now() - begin;
    soon.cancel();
    (void)runtime::sleep_for(2s);
    left = bucket.available();
  });
  CHECK(too_many == errc::exceeds_burst);
  CHECK(never == errc::would_exceed_deadline);
  CHECK(done == context::errc::canceled);
  CHECK(late == errc::would_exceed_deadline);
  CHECK(late == std::errc::timed_out);
  CHECK(passed < 1'000'000);
  CHECK(left == 2);
}

TEST_CASE("a wait that is cancelled gives its tokens back", "[token_bucket][simulation]") {
  std::error_code error;
  std::chrono::nanoseconds until{0};
  Simulation(3).run([&] {
    TokenBucket bucket(1, 10);
    (void)bucket.try_take(10);
    const auto c = context::with_cancel(context::background());
    (void)runtime::spawn("canceler", [cancel = c.cancel] {
      (void)runtime::sleep_for(1s);
      cancel(std::make_error_code(std::errc::connection_reset));
    });
    error = error_of(bucket.wait(c.context, 10));
    until = bucket.time_until(2);
  });
  CHECK(error == context::errc::canceled);
  CHECK(until > 500ms);
  CHECK(until < 1s);  // not eleven
}
