#include "core/flow/keyed_token_buckets.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "core/base/random.hpp"
#include "tests/unit/flow/times.hpp"

using namespace fiberd;
using flow::Gcra;
using flow::KeyedTokenBuckets;
using test::kSecond;

static constexpr std::int64_t kRoundStart = 5'000'000'000'000;

TEST_CASE("keys are secret, and kinds do not meet", "[keyed_token_buckets]") {
  const KeyedTokenBuckets a(1, 1, 10);
  const KeyedTokenBuckets b(1, 1, 10);
  CHECK(a.key_of("x") == a.key_of("x"));
  CHECK(a.key_of("x") != b.key_of("x"));
  CHECK(a.key_of("x", 0) != a.key_of("x", 1));
  CHECK(a.key_of("x") != a.key_of(std::string_view("x\0", 2)));
}

TEST_CASE("each key has a bucket of its own: the same decisions as one bucket a key", "[keyed_token_buckets][model]") {
  Random random(3);
  for (const std::size_t keys : {1U, 5U, 100U, 1000U}) {
    KeyedTokenBuckets buckets(50, 3, 4 * keys + 64);
    const Gcra gcra(50, 3);
    std::map<std::uint32_t, std::int64_t> model;
    std::int64_t now = kRoundStart;
    int different = 0;
    for (int i = 0; i < 50'000; ++i) {
      now += random.below(static_cast<std::uint32_t>(40'000'000 / keys + 1));
      const std::uint32_t key = random.below(static_cast<std::uint32_t>(keys));
      const Gcra::Taken t = gcra.take(model[key], gcra.units(now), 1);
      if (t.taken) model[key] = t.tat;
      if (buckets.try_take_at(now, buckets.key_of(std::to_string(key))) != t.taken) ++different;
    }
    CHECK(different == 0);
    CHECK(buckets.size() == model.size());
    CHECK(buckets.evicted_full() + buckets.evicted_in_debt() == 0);
  }
}

TEST_CASE("what the table forgets first is the least recently used, if it owes nothing", "[keyed_token_buckets]") {
  KeyedTokenBuckets buckets(1, 10, 3);  // one shard
  REQUIRE(buckets.capacity() == 3);
  CHECK(buckets.try_take_at(kRoundStart, 1, 10));
  CHECK(buckets.try_take_at(kRoundStart, 2, 1));
  CHECK(buckets.try_take_at(kRoundStart, 3, 5));
  // 2 owes nothing any more; 1 is older but empty.
  CHECK(buckets.try_take_at(kRoundStart + 2 * kSecond, 4, 10));
  CHECK(buckets.evicted_full() == 1);
  CHECK(buckets.evicted_in_debt() == 0);
  CHECK_FALSE(buckets.try_take_at(kRoundStart + 2 * kSecond, 1, 3));  // still has its own
  CHECK(buckets.try_take_at(kRoundStart + 2 * kSecond, 1, 2));
  CHECK_FALSE(buckets.try_take_at(kRoundStart + 2 * kSecond, 3, 8));
  CHECK(buckets.size() == 3);
}

TEST_CASE("whoever takes a bucket that owes inherits the debt", "[keyed_token_buckets]") {
  KeyedTokenBuckets buckets(1, 10, 2);
  CHECK(buckets.try_take_at(kRoundStart, 1, 10));
  CHECK(buckets.try_take_at(kRoundStart, 2, 4));
  CHECK_FALSE(buckets.try_take_at(kRoundStart, 3, 7));
  CHECK(buckets.try_take_at(kRoundStart, 3, 6));
  CHECK(buckets.evicted_in_debt() == 1);
  CHECK(buckets.time_until_at(kRoundStart, 3, 1) >= std::chrono::seconds(1));
}

TEST_CASE("cycling through keys gains nothing", "[keyed_token_buckets]") {
  Random random(9);
  for (const std::size_t keys : {2U, 64U, 1024U}) {
    KeyedTokenBuckets buckets(10, 5, keys);
    std::uint64_t admitted = 0;
    std::int64_t now = kRoundStart;
    for (int i = 0; i < 200'000; ++i) {
      now += 10'000;
      admitted += buckets.try_take_at(now, random.next()) ? 1 : 0;
    }
    const double seconds = static_cast<double>(now - kRoundStart) / 1e9;
    CHECK(static_cast<double>(admitted) <= static_cast<double>(buckets.capacity()) * (5 + 10 * seconds) + 1);
    CHECK(buckets.size() == buckets.capacity());
    CHECK(buckets.evicted_in_debt() + buckets.evicted_full() == 200'000 - buckets.capacity());
  }
}

TEST_CASE("slots move up when one is erased: nobody is lost in ten thousand changes", "[keyed_token_buckets]") {
  Random random(11);
  KeyedTokenBuckets buckets(1e-3, 1, 50);
  // Keys of one neighbourhood, so that probes run into each other. Each has one token for 1,000 s.
  int wrong = 0;
  std::vector<std::uint64_t> last;
  for (int i = 0; i < 10'000; ++i) {
    const std::uint64_t key = (random.next() << 8U) | random.below(16);
    (void)buckets.try_take_at(kRoundStart, key);
    if (buckets.try_take_at(kRoundStart, key)) ++wrong;
    last.push_back(key);
    if (last.size() > 50) last.erase(last.begin());
    if (i % 97 == 0 && last.size() == 50)
      for (const std::uint64_t k : last)
        if (buckets.time_until_at(kRoundStart, k) == std::chrono::nanoseconds(0)) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("odd sizes and rates", "[keyed_token_buckets]") {
  KeyedTokenBuckets least(5, 1, 0);
  CHECK(least.capacity() == 1);
  CHECK(least.try_take_at(kRoundStart, 1));
  CHECK_FALSE(least.try_take_at(kRoundStart, 2));
  KeyedTokenBuckets unlimited(1e12, 0, 5);
  CHECK(unlimited.try_take_at(kRoundStart, 1, 1'000'000));
  CHECK(unlimited.size() == 0);
  KeyedTokenBuckets none(5, 0, 5);
  CHECK_FALSE(none.try_take_at(kRoundStart, 1));
  CHECK(none.try_take_at(kRoundStart, 1, 0));
  CHECK(none.time_until_at(kRoundStart, 1) == std::chrono::nanoseconds::max());
  KeyedTokenBuckets dry(0, 1, 5);
  CHECK(dry.try_take_at(kRoundStart, 1));
  CHECK_FALSE(dry.try_take_at(kRoundStart + 1'000'000 * kSecond, 1));
  CHECK(KeyedTokenBuckets(1, 1, 1000).capacity() >= 1000);
}

TEST_CASE("eight threads on ten keys get exactly what these have", "[keyed_token_buckets][threads]") {
  KeyedTokenBuckets buckets(1000, 100, 1000);
  std::atomic<std::int64_t> clock{kRoundStart};
  std::vector<std::atomic<std::int64_t>> admitted(10);
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 20'000; ++i) {
        const std::int64_t now = clock.fetch_add(50'000) + 50'000;
        const auto k = static_cast<std::size_t>(i % 10);
        while (buckets.try_take_at(now, buckets.key_of(std::to_string(k)))) admitted[k].fetch_add(1);
      }
    });
  for (std::thread& t : threads) t.join();
  const std::int64_t end = clock.load();
  for (std::size_t k = 0; k < 10; ++k) {
    while (buckets.try_take_at(end, buckets.key_of(std::to_string(k)))) admitted[k].fetch_add(1);
    CHECK(admitted[k] <= 100 + (end - kRoundStart) / 1'000'000 + 1);
    CHECK(admitted[k] >= 100 + (end - kRoundStart) / 1'000'000 * 99 / 100);
  }
}
