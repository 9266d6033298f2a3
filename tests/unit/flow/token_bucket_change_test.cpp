// A token bucket whose rate and burst change while it is used.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "core/base/random.hpp"
#include "core/flow/rate.hpp"
#include "core/flow/token_bucket.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/seeds.hpp"
#include "tests/unit/flow/drain.hpp"
#include "tests/unit/flow/times.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using flow::Reservation;
using flow::TokenBucket;
using test::drain;
using test::kSecond;
using test::kStart;

namespace {

bool about(std::chrono::nanoseconds is, std::chrono::nanoseconds wanted) {
  return is >= wanted - 10ns && is <= wanted + 10ns;
}

}  // namespace

TEST_CASE("every: the rate of an interval", "[token_bucket][rate]") {
  CHECK(flow::every(100ms) == 10);
  CHECK(flow::every(1ns) == 1e9);
  CHECK(flow::every(2h) == Approx(1.0 / 7200));
  CHECK(flow::every(0ns) == flow::kUnlimited);
  CHECK(flow::every(-1s) == flow::kUnlimited);
}

TEST_CASE("a new rate: the tokens stay as many, what comes comes at the new rate", "[token_bucket][change]") {
  for (const double from : {0.001, 1.0, 3.0, 44'100.0, 999'999'937.0}) {
    for (const double to : {0.001, 2.0, 7.0, 1e6, 1e9}) {
      INFO(from << " to " << to);
      TokenBucket bucket(from, 100);
      REQUIRE(bucket.try_take_at(kStart, 60));
      bucket.set_rate_at(kStart, to);
      CHECK(bucket.rate() == to);
      CHECK(bucket.burst() == 100);
      CHECK(bucket.available_at(kStart) == 40);
      REQUIRE(bucket.try_take_at(kStart, 40));
      CHECK_FALSE(bucket.try_take_at(kStart));
      const auto each = std::chrono::nanoseconds(static_cast<std::int64_t>(std::ceil(1e9 / to)));
      CHECK(std::abs((bucket.time_until_at(kStart) - each).count()) <= 2 + each.count() / 1'000'000'000);
      CHECK(bucket.available_at(kStart + 5 * each.count() + 10) == std::min<std::int64_t>(to == 1e9 ? 15 : 5, 100));
    }
  }
}

TEST_CASE("a new burst: a larger one fills up, a smaller one loses the rest", "[token_bucket][change]") {
  TokenBucket bucket(10, 5);
  bucket.set_burst_at(kStart, 20);
  CHECK(bucket.burst() == 20);
  CHECK(bucket.available_at(kStart) == 5);
  CHECK(bucket.available_at(kStart + kSecond + 10) == 15);
  CHECK(bucket.available_at(kStart + 10 * kSecond) == 20);
  bucket.set_burst_at(kStart + 10 * kSecond, 2);
  CHECK_FALSE(bucket.try_take_at(kStart + 10 * kSecond, 3));
  CHECK(drain(bucket, kStart + 10 * kSecond) == 2);
  bucket.set_burst_at(kStart + 10 * kSecond, 0);
  CHECK_FALSE(bucket.try_take_at(kStart + 20 * kSecond));
  bucket.set_burst_at(kStart + 20 * kSecond, 1);
  CHECK_FALSE(bucket.try_take_at(kStart + 20 * kSecond));  // none was there
  CHECK(bucket.try_take_at(kStart + 20 * kSecond + kSecond / 10 + 10));
}

TEST_CASE("to and from the odd rates", "[token_bucket][change]") {
  TokenBucket bucket(10, 5);
  REQUIRE(bucket.try_take_at(kStart, 5));
  bucket.set_rate_at(kStart, flow::kUnlimited);
  CHECK(bucket.try_take_at(kStart, 1'000'000));
  bucket.set_rate_at(kStart, 1);
  CHECK(drain(bucket, kStart) == 5);  // it was full at each moment
  bucket.set_rate_at(kStart, 0);
  CHECK_FALSE(bucket.try_take_at(kStart + 1000 * kSecond));
  CHECK(bucket.time_until_at(kStart) == std::chrono::nanoseconds::max());
  bucket.set_rate_at(kStart + 1000 * kSecond, 2);
  CHECK_FALSE(bucket.try_take_at(kStart + 1000 * kSecond));
  CHECK(bucket.try_take_at(kStart + 1000 * kSecond + kSecond / 2 + 10));
  bucket.set_rate_at(kStart + 1000 * kSecond, std::numeric_limits<double>::quiet_NaN());
  CHECK(std::isnan(bucket.rate()));
  CHECK_FALSE(bucket.try_take_at(kStart + 5000 * kSecond));
}

TEST_CASE("what was promised keeps its time, and the debt is paid at the new rate", "[token_bucket][change]") {
  TokenBucket bucket(1, 1);
  REQUIRE(bucket.try_take_at(kStart));
  const Reservation first = bucket.reserve_at(kStart);
  const Reservation second = bucket.reserve_at(kStart);
  bucket.set_rate_at(kStart, 10);
  CHECK(about(first.delay(), 1s));
  CHECK(about(second.delay(), 2s));
  CHECK(about(bucket.reserve_at(kStart).delay(), 300ms));  // the third from now, at ten a second
}

TEST_CASE("a reservation cancelled after a change gives back its tokens, not its time", "[token_bucket][change]") {
  for (const double to : {0.5, 1.0, 4.0, 100.0}) {
    INFO(to);
    TokenBucket bucket(1, 3);
    REQUIRE(bucket.try_take_at(kStart, 3));
    Reservation two = bucket.reserve_at(kStart, 2);
    bucket.set_rate_at(kStart, to);
    two.cancel(kStart);
    CHECK(about(bucket.time_until_at(kStart), std::chrono::nanoseconds(static_cast<std::int64_t>(1e9 / to))));
    // One behind it keeps its place: of two tokens one comes back.
    Reservation again = bucket.reserve_at(kStart, 2);
    (void)bucket.reserve_at(kStart, 1);
    bucket.set_rate_at(kStart, 1);
    again.cancel(kStart);
    CHECK(about(bucket.time_until_at(kStart), 3s));  // owed: two of three; one more
  }
  // Two changes: nobody remembers how long ago that was.
  TokenBucket bucket(1, 1);
  REQUIRE(bucket.try_take_at(kStart));
  Reservation one = bucket.reserve_at(kStart);
  bucket.set_rate_at(kStart, 2);
  bucket.set_rate_at(kStart, 1);
  one.cancel(kStart);
  CHECK(about(bucket.time_until_at(kStart), 2s));
}

TEST_CASE("every decision across changes is that of an exact bucket, give or take two nanoseconds a change",
          "[token_bucket][change][model]") {
  Random random(7);
  for (int round = 0; round < 300; ++round) {
    const auto some_rate = [&] {
      return 1 + std::int64_t{random.below(round % 3 == 0 ? 10 : round % 3 == 1 ? 100'000 : 1'000'000'000)};
    };
    std::int64_t rate = some_rate();
    std::int64_t burst = 1 + random.below(50);
    TokenBucket bucket(static_cast<double>(rate), burst);
    using Wide = __int128;
    const Wide token = kSecond;
    Wide level = burst * token;
    Wide slack = Wide(2) * rate;
    std::int64_t now = kStart;
    int wrong = 0;
    for (int i = 0; i < 2000; ++i) {
      const std::int64_t dt = random.below(static_cast<std::uint32_t>(
          std::min<std::int64_t>(std::max<std::int64_t>(4 * kSecond / rate, 4), 2'000'000'000)));
      now += dt;
      level = std::min<Wide>(burst * token, level + Wide(dt) * rate);
      if (random.below(50) == 0) {
        if (random.below(2) == 0) {
          rate = some_rate();
          bucket.set_rate_at(now, static_cast<double>(rate));
        } else {
          burst = 1 + random.below(50);
          bucket.set_burst_at(now, burst);
        }
        level = std::min<Wide>(burst * token, level);
        slack += Wide(3) * rate;
      }
      const std::int64_t n = 1 + random.below(3);
      if (bucket.try_take_at(now, n)) {
        if (level + slack < n * token) ++wrong;
        level -= n * token;
      } else if (n <= burst && level - slack >= n * token) {
        ++wrong;
      }
      if (level >= burst * token) slack = Wide(2) * rate;  // full: nothing of before counts
    }
    INFO("rate " << rate << " burst " << burst);
    CHECK(wrong == 0);
  }
}

TEST_CASE("eight threads take while the rate and the burst change: never more than the largest would admit",
          "[token_bucket][change][threads]") {
  constexpr int kThreads = 8;
  constexpr std::int64_t kEach = 20'000;
  constexpr std::int64_t kStep = 997;
  TokenBucket bucket(500'000, 1000);
  std::atomic<std::int64_t> clock{kStart};
  std::atomic<std::int64_t> total{0};
  std::atomic<bool> over{false};
  std::atomic<std::int64_t> odd{0};
  std::thread changer([&] {
    Random random(3);
    do {
      const std::int64_t now = clock.load();
      if (random.below(2) == 0) {
        bucket.set_rate_at(now, 250'000 << random.below(3));  // one unit for all: a stale swap could pass
      } else {
        bucket.set_burst_at(now, 500 + random.below(501));
      }
      const std::int64_t there = bucket.available_at(now);
      if (there < 0 || there > 1000) ++odd;
      std::this_thread::yield();
    } while (!over.load());
  });
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&] {
      for (std::int64_t i = 0; i < kEach; ++i) {
        const std::int64_t now = clock.fetch_add(kStep) + kStep;
        while (bucket.try_take_at(now)) total.fetch_add(1);
      }
    });
  for (std::thread& t : threads) t.join();
  over = true;
  changer.join();
  const std::int64_t span = kThreads * kEach * kStep;
  CHECK(odd == 0);
  CHECK(total.load() >= 500 + span / 4000 / 2);
  CHECK(total.load() <= 1000 + span / 1000 + 1000);  // at most a million a second
}

TEST_CASE("what is taken before a change's turn has come is not owed after it", "[token_bucket][change]") {
  flow::GcraCell cell(1e6, 10);
  const auto take = [&] {
    const flow::GcraCell::View v = cell.look();
    const flow::Gcra::Taken t = v.gcra.take(v.tat, v.gcra.units(monotonic_now()), 1);
    return t.taken && cell.swap(v, t.tat);
  };
  std::int64_t taken = 0;
  cell.change(flow::GcraCell::kNow, [&](double& rate, std::int64_t&) {
    for (const std::int64_t end = monotonic_now() + 10'000'000; monotonic_now() < end;) taken += take() ? 1 : 0;
    rate = 1;
  });
  REQUIRE(taken > 20);
  const flow::GcraCell::View v = cell.look();
  CHECK(v.tat - v.gcra.units(monotonic_now()) <= v.gcra.cost(10));
}

TEST_CASE("while others take all that comes a slow rate begins with no debt", "[token_bucket][change][threads]") {
  TokenBucket bucket(5e8, 1000);
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t)
    threads.emplace_back([&] {
      while (!over) (void)bucket.try_take(100);
    });
  std::int64_t worst = 0;
  for (int i = 0, n = test::kSanitized ? 200 : 5000; i < n; ++i) {
    bucket.set_rate(1);
    worst = std::max<std::int64_t>(worst, bucket.time_until().count());
    bucket.set_burst(i % 2 == 0 ? 999 : 1000);
    worst = std::max<std::int64_t>(worst, bucket.time_until().count());
    bucket.set_rate(5e8);
    for (int k = 0; k < 100 && bucket.available() > 100; ++k) std::this_thread::yield();
  }
  over = true;
  for (std::thread& t : threads) t.join();
  CHECK(worst <= kSecond + 10);
}

TEST_CASE("what a look sees is of one moment, while the units change by a factor of 2^28",
          "[token_bucket][change][threads]") {
  TokenBucket bucket(1, 1000);
  std::atomic<bool> over{false};
  std::atomic<std::int64_t> looks{0};
  std::atomic<std::int64_t> torn{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      std::int64_t n = 0;
      for (; !over; ++n) {
        if (bucket.burst() != 1000) ++torn;
        if (bucket.available_at(kStart) != 1000) ++torn;  // nobody takes any
      }
      looks += n;
    });
  for (int i = 0; i < 100'000; ++i) bucket.set_rate_at(kStart, i % 2 == 0 ? 5e8 : 1);
  over = true;
  for (std::thread& t : threads) t.join();
  CHECK(torn == 0);
  CHECK(looks != 0);
  CHECK(bucket.available_at(kStart) == 1000);
}

TEST_CASE("waits across changes end at their promised times, 2,000 seeds", "[token_bucket][change][seeds]") {
  test::for_each_simulation(2'000, [](std::uint64_t seed) {
    Random random(seed);
    TokenBucket bucket(1000, 1);
    int admitted = 0;
    int left = 12;
    const std::int64_t begin = monotonic_now();
    for (int i = 0; i < 10; ++i)
      (void)runtime::spawn("waiter", [&] {
        if (bucket.wait()) ++admitted;
        --left;
      });
    for (int i = 0; i < 2; ++i)
      (void)runtime::spawn("changer", [&, up = i == 0] {
        (void)runtime::sleep_for(std::chrono::nanoseconds(random.below(5'000'000)));
        up ? bucket.set_rate(4000) : bucket.set_burst(3);
        --left;
      });
    while (left != 0) (void)runtime::sleep_for(1ms);
    test::invariant(admitted == 10, "all are admitted");
    test::invariant(monotonic_now() - begin <= 13'000'000, "nobody waits for longer than at the lowest rate");
    test::invariant(bucket.rate() == 4000 && bucket.burst() == 3, "both changes hold");
  });
}
