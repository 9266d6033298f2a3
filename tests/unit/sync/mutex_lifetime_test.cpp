// A mutex may be destroyed by whoever has locked it last, as std::mutex: the unlock before must be through with it.
#include <catch2/catch.hpp>

#include <atomic>
#include <chrono>
#include <memory>

#include "core/base/cpu_relax.hpp"
#include "core/context/context.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/mutex.hpp"

using namespace fiberd;

/// Says nothing by itself: TSan and ASan do.
TEST_CASE("mutex: the next owner destroys it at once, after a waiter has given up", "[sync][mutex]") {
  static constexpr int kRounds = 3'000;
  std::atomic<int> taken{0};
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 4});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int round = 0; round < kRounds; ++round) {
        auto* const mutex = new sync::Mutex;
        mutex->lock();
        // The waiter leaves its mark: the unlock below takes the slow way and finds nobody.
        const auto stop = context::with_timeout(context::background(), std::chrono::microseconds(100));
        if (mutex->lock(stop.context)) continue;
        stop.cancel();
        std::atomic<bool> ready{false};
        std::atomic<bool> over{false};
        (void)runtime::spawn("next owner", [&, mutex] {
          ready.store(true, std::memory_order_relaxed);
          while (!mutex->try_lock()) cpu_relax();
          mutex->unlock();
          delete mutex;
          taken.fetch_add(1, std::memory_order_relaxed);
          over = true;
        });
        while (!ready.load(std::memory_order_relaxed)) runtime::yield();
        mutex->unlock();
        while (!over) runtime::yield();
      }
    });
  }
  CHECK(taken == kRounds);
}
