// Threads: a pool that dies as soon as its shutdown is over, while its last worker leaves. A late touch is
// AddressSanitizer's to find; every interleaving, and that of a job that comes while an idle worker's time is up, is in
// tests/model/pool_model_test.cpp.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>

#include "core/base/cpu_relax.hpp"
#include "core/flow/worker_pool.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using flow::WorkerPool;

static constexpr int kRounds = test::kThreadSanitizer ? 2'000 : 20'000;

TEST_CASE("threads: a pool may die as soon as its shutdown is over", "[worker_pool][threads]") {
  int ran = 0;
  auto rt = runtime::Runtime::start({.gomaxprocs = 2});
  REQUIRE(rt);
  (*rt)->run([&] {
    for (int i = 0; i < kRounds; ++i) {
      auto pool = std::make_unique<WorkerPool>(flow::WorkerPoolOptions{.most = 2, .queue = 4, .idle = 1us});
      std::atomic<int> mine{0};
      for (int k = 0; k < 3; ++k) (void)pool->try_submit([&mine] { mine.fetch_add(1); });
      for (int spins = i % 300; spins != 0; --spins) cpu_relax();
      (void)pool->shutdown();
      pool.reset();
      ran += mine.load();
    }
  });
  CHECK(ran == 3 * kRounds);
}
