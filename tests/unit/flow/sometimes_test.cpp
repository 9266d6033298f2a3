#include "core/flow/sometimes.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/unit/flow/times.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using flow::Sometimes;
using test::kSecond;

namespace {

std::vector<int> which(Sometimes& sometimes, int n, std::int64_t step_ns = 0) {
  std::vector<int> done;
  for (int i = 0; i < n; ++i)
    if (sometimes.due_at(kSecond + i * step_ns)) done.push_back(i);
  return done;
}

}  // namespace

TEST_CASE("sometimes: without a rule, the first occasion", "[sometimes]") {
  Sometimes sometimes;
  CHECK(which(sometimes, 10) == std::vector<int>{0});
}

TEST_CASE("sometimes: the first, every, an interval, and any of them", "[sometimes]") {
  Sometimes first({.first = 3});
  CHECK(which(first, 10) == std::vector<int>{0, 1, 2});
  Sometimes every({.every = 4});
  CHECK(which(every, 10) == std::vector<int>{0, 4, 8});
  Sometimes interval({.interval = 3s});
  CHECK(which(interval, 10, kSecond) == std::vector<int>{0, 3, 6, 9});
  Sometimes any({.first = 2, .every = 5, .interval = 3s});
  CHECK(which(any, 12, kSecond) == std::vector<int>{0, 1, 4, 5, 8, 10});
}

TEST_CASE("sometimes: run says whether it ran, and lets exceptions through", "[sometimes]") {
  Sometimes sometimes({.every = 2});
  int ran = 0;
  CHECK(sometimes.run([&] { ++ran; }));
  CHECK_FALSE(sometimes.run([&] { ++ran; }));
  CHECK_THROWS_AS(sometimes.run([]() -> int { throw std::runtime_error("no"); }), std::runtime_error);
  CHECK_FALSE(sometimes.run([&] { ++ran; }));
  // It may come by here again while it runs.
  CHECK(sometimes.run([&] { CHECK_FALSE(sometimes.run([&] { ++ran; })); }));
  CHECK(ran == 1);
}

TEST_CASE("sometimes: of many threads at one moment exactly as many act as the rules say", "[sometimes][threads]") {
  Sometimes counted({.first = 10, .every = 100});
  Sometimes timed({.interval = 1h});
  std::atomic<int> by_count{0};
  std::atomic<int> by_time{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) {
        if (counted.due()) ++by_count;
        if (timed.due()) ++by_time;
      }
    });
  for (std::thread& t : threads) t.join();
  CHECK(by_count == 10 + 79);
  CHECK(by_time == 1);
}
