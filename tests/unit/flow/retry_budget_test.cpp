#include "core/flow/retry_budget.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <cmath>
#include <limits>
#include <thread>
#include <vector>

#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using flow::RetryBudget;

static int retries(RetryBudget& budget) {
  int n = 0;
  while (n < 100'000 && budget.try_retry()) ++n;
  return n;
}

TEST_CASE("a share of the requests, and so many a second without", "[retry_budget]") {
  int only_least = 0;
  int share = 0;
  int later = 0;
  std::uint64_t refused = 0;
  runtime::Simulation(1).run([&] {
    RetryBudget budget({.ratio = 0.2, .least_per_second = 1});
    only_least = retries(budget);
    for (int i = 0; i < 1000; ++i) budget.request();
    share = retries(budget);
    (void)runtime::sleep_for(11s);
    later = retries(budget);  // all is forgotten
    refused = budget.refused();
  });
  CHECK(only_least == 10);
  CHECK(share == 200);
  CHECK(later == 10);
  CHECK(refused == 3);
}

TEST_CASE("the window slides: what was paid in ten seconds ago is gone, what was taken too", "[retry_budget]") {
  std::uint64_t before = 0;
  std::uint64_t after = 0;
  int taken = 0;
  int in_all = 0;
  runtime::Simulation(1).run([&] {
    RetryBudget budget({.ratio = 0.5, .least_per_second = 0});
    for (int i = 0; i < 100; ++i) budget.request();
    (void)runtime::sleep_for(5s);
    for (int i = 0; i < 20; ++i) budget.request();
    before = budget.left();
    (void)runtime::sleep_for(5500ms);
    after = budget.left();
    taken = retries(budget);
    // In the long run the ratio, whatever is tried.
    for (int s = 0; s < 100; ++s) {
      for (int i = 0; i < 10; ++i) budget.request();
      in_all += retries(budget);
      (void)runtime::sleep_for(1s);
    }
  });
  CHECK(before == 60);
  CHECK(after == 10);
  CHECK(taken == 10);
  CHECK(in_all <= 1000 * 0.5 + 50);
  CHECK(in_all >= 400);
}

TEST_CASE("odd ratios", "[retry_budget]") {
  runtime::Simulation(1).run([&] {
    for (const double odd : {-1.0, std::nan(""), -std::numeric_limits<double>::infinity()}) {
      RetryBudget none({.ratio = odd, .least_per_second = odd});
      for (int i = 0; i < 100; ++i) none.request();
      CHECK(none.left() == 0);
      CHECK_FALSE(none.try_retry());
    }
    RetryBudget much({.ratio = std::numeric_limits<double>::infinity(), .least_per_second = 1e300, .window = 0s});
    CHECK(much.left() == 1'000'000);
    much.request();
    CHECK(much.left() == 1'001'000);
  });
}

TEST_CASE("threads take no more than there is", "[retry_budget][threads]") {
  RetryBudget budget({.ratio = 0.1, .least_per_second = 0, .window = 1h});
  for (int i = 0; i < 10'000; ++i) budget.request();
  std::atomic<int> taken{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1000; ++i) taken += budget.try_retry() ? 1 : 0;
    });
  for (std::thread& t : threads) t.join();
  CHECK(taken == 1000);
  CHECK(budget.refused() == 3000);
}
