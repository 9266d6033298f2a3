#include "core/sync/sharded_map.hpp"

#include <catch2/catch.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/base/thread_locals.hpp"
#include "tests/support/allocations.hpp"

using namespace fiberd;
using sync::ShardedMap;

namespace {

/// Notes whether it is destroyed under a lock.
struct Witness {
  static inline int under_lock = 0;
  static inline int destroyed = 0;
  Witness() = default;
  Witness(Witness&& o) noexcept : real(std::exchange(o.real, false)) {}
  Witness& operator=(Witness&& o) noexcept {
    std::swap(real, o.real);
    return *this;
  }
  ~Witness() {
    if (!real) return;
    ++destroyed;
    under_lock += thread_locals()->lock_depth != 0 ? 1 : 0;
  }
  bool real = true;
};

}  // namespace

TEST_CASE("sharded map: store, load, load_or_store, compute, update, erase", "[sync][map]") {
  ShardedMap<std::string, int> m;
  CHECK_FALSE(m.load("a"));
  CHECK(m.store("a", 1));
  CHECK(m.store(std::string("a"), 2));
  CHECK(m.load(std::string_view("a")) == 2);
  CHECK(m.size() == 1);

  const auto made = m.load_or_store("b", [] { return 7; });
  CHECK(made == std::pair<int, bool>(7, false));
  int calls = 0;
  const auto loaded = m.load_or_store("b", [&] { return ++calls; });
  CHECK(loaded == std::pair<int, bool>(7, true));
  CHECK(calls == 0);

  CHECK(m.compute("c", [](int& n) { n += 5; }));
  CHECK(m.compute("c", [](int& n) { n += 5; }));
  CHECK(m.load("c") == 10);
  CHECK(m.compute("c", [](int&) { return false; }));
  CHECK_FALSE(m.contains("c"));
  CHECK(m.compute("c", [](int&) { return false; }));
  CHECK_FALSE(m.contains("c"));
  CHECK_FALSE(m.update("c", [](int& n) { n = 1; }));
  CHECK(m.update("b", [](int& n) { n = 1; }));
  CHECK(m.load("b") == 1);

  CHECK(m.erase("a"));
  CHECK_FALSE(m.erase("a"));
  CHECK(m.size() == 1);
  m.clear();
  CHECK(m.size() == 0);
  CHECK_FALSE(m.load("b"));
}

TEST_CASE("sharded map: a look-up by view makes no string", "[sync][map]") {
  ShardedMap<std::string, int> m;
  const std::string key(100, 'k');
  CHECK(m.store(key, 1));
  const std::uint64_t before = test::allocations();
  bool good = true;
  for (int i = 0; i < 100; ++i) {
    good = good && m.load(std::string_view(key)) == 1 + i;
    good = good && m.compute(std::string_view(key), [](int& n) { ++n; });
    good = good && !m.contains(std::string_view(key).substr(1));
  }
  CHECK(test::allocations() == before);
  CHECK(good);
}

TEST_CASE("sharded map: range sees every entry once and may change it; erase_if takes out", "[sync][map]") {
  ShardedMap<int, int> m(ShardedMap<int, int>::kUnbounded, 5);
  CHECK(m.shard_count() == 8);
  for (int i = 0; i < 1000; ++i) REQUIRE(m.store(i, 0));
  std::set<int> seen;
  CHECK(m.range([&](const int& k, int& v) {
    seen.insert(k);
    v = k;
    return true;
  }));
  CHECK(seen.size() == 1000);
  CHECK(m.load(999) == 999);
  int visited = 0;
  CHECK_FALSE(m.range([&](const int&, int&) { return ++visited < 10; }));
  CHECK(visited == 10);
  CHECK(m.erase_if([](const int& k, int&) { return k % 4 == 0; }) == 250);
  CHECK(m.size() == 750);
  CHECK_FALSE(m.contains(8));
  CHECK(m.contains(9));
}

TEST_CASE("sharded map: integers with any stride are spread over the shards", "[sync][map]") {
  for (const std::size_t stride : {1, 64, 4096, 1'000'000}) {
    std::array<int, 16> share{};
    for (std::size_t i = 0; i < 1600; ++i) ++share.at(sync::detail::shard_index(i * stride, 4));
    INFO(stride);
    CHECK(*std::max_element(share.begin(), share.end()) < 200);
  }
  CHECK(sync::detail::shard_index(~std::size_t{0}, 0) == 0);
}

TEST_CASE("sharded map: a bound is exact and refusals change nothing", "[sync][map]") {
  ShardedMap<std::string, int> m(2);
  CHECK(m.store("a", 1));
  CHECK(m.compute("b", [](int& n) { n = 2; }));
  CHECK_FALSE(m.store("c", 3));
  bool called = false;
  CHECK_FALSE(m.compute("c", [&](int&) { called = true; }));
  CHECK_FALSE(called);
  CHECK_FALSE(m.try_load_or_store("c", [] { return 1; }));
  bool thrown = false;
  try {
    (void)m.load_or_store("c", [] { return 1; });
  } catch (const std::length_error&) {
    thrown = true;
  }
  CHECK(thrown);
  CHECK(m.store("a", 4));  // what is there may change
  CHECK(m.size() == 2);
  CHECK(m.erase("b"));
  CHECK(m.store("c", 3));
  CHECK(m.size() == 2);
  ShardedMap<int, int> none(0);
  CHECK_FALSE(none.store(1, 1));
}

TEST_CASE("sharded map: a bound is exact when 4 threads insert and erase", "[sync][map]") {
  static constexpr std::size_t kMax = 100;
  ShardedMap<int, int> m(kMax);
  std::atomic<bool> over{false};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20'000; ++i) {
        const int key = (i * 7 + t * 31) % 400;
        if ((i & 1) != 0) {
          (void)m.store(key, i);
        } else {
          m.erase(key);
        }
        if (m.size() > kMax) over = true;
      }
    });
  for (auto& t : threads) t.join();
  CHECK_FALSE(over);
  std::size_t n = 0;
  m.range([&](const int&, int&) {
    ++n;
    return true;
  });
  CHECK(n == m.size());
}

TEST_CASE("sharded map: compute from 8 threads loses nothing", "[sync][map]") {
  ShardedMap<std::string, std::uint64_t> m;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) (void)m.compute("key" + std::to_string(i % 10), [](std::uint64_t& n) { ++n; });
    });
  for (auto& t : threads) t.join();
  std::uint64_t sum = 0;
  m.range([&](const std::string&, std::uint64_t& n) {
    sum += n;
    return true;
  });
  CHECK(sum == 80'000);
}

TEST_CASE("sharded map: values are destroyed after the lock is released", "[sync][map]") {
  Witness::under_lock = Witness::destroyed = 0;
  {
    ShardedMap<int, Witness> m;
    for (int i = 0; i < 10; ++i) CHECK(m.store(i, Witness()));
    CHECK(Witness::destroyed == 0);
    CHECK(m.store(0, Witness()));
    CHECK(Witness::destroyed == 1);
    CHECK(m.erase(0));
    CHECK(m.compute(1, [](Witness&) { return false; }));
    CHECK(m.erase_if([](const int& k, Witness&) { return k < 5; }) == 3);
    CHECK(Witness::destroyed == 6);
    m.clear();
    CHECK(Witness::destroyed == 11);
  }
  CHECK(Witness::under_lock == 0);
}

TEST_CASE("sharded map: a callback that throws leaves no entry and no lock behind", "[sync][map]") {
  ShardedMap<int, int> m(1);
  int thrown = 0;
  for (int i = 0; i < 3; ++i) {
    try {
      (void)m.compute(1, [](int&) { throw std::runtime_error("fn"); });
    } catch (const std::runtime_error&) {
      ++thrown;
    }
    try {
      (void)m.load_or_store(2, []() -> int { throw std::runtime_error("make"); });
    } catch (const std::runtime_error&) {
      ++thrown;
    }
  }
  CHECK(thrown == 6);
  CHECK(m.size() == 0);
  CHECK(thread_locals()->lock_depth == 0);
  CHECK(m.store(1, 1));
}

TEST_CASE("sharded map: values that only move", "[sync][map]") {
  ShardedMap<std::string, std::unique_ptr<int>> m;
  CHECK(m.store("a", std::make_unique<int>(1)));
  int seen = 0;
  CHECK(m.compute("a", [&](std::unique_ptr<int>& p) { seen = *p; }));
  CHECK(seen == 1);
  CHECK(m.compute("b", [&](std::unique_ptr<int>& p) { p = std::make_unique<int>(2); }));
  CHECK(m.size() == 2);
}
