// A group may be destroyed by whoever has seen its counter at zero, also by a waiter that had given up before.
#include <catch2/catch.hpp>

#include <atomic>
#include <chrono>
#include <memory>

#include "core/base/cpu_relax.hpp"
#include "core/context/context.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/wait_group.hpp"

using namespace fiberd;

TEST_CASE("wait group: a waiter that gave up comes back, and destroys the group at once", "[sync][wait_group]") {
  static constexpr int kRounds = 5'000;
  int gave_up = 0;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 4});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int round = 0; round < kRounds; ++round) {
        auto group = std::make_unique<sync::WaitGroup>();
        std::atomic<bool> waiting{false};
        std::atomic<bool> over{false};
        group->add();
        const auto stop = context::with_cancel(context::background());
        (void)runtime::spawn("worker", [&, here = group.get()] {
          while (!waiting) runtime::yield();
          for (int i = round % 50; i > 0; --i) cpu_relax();
          here->done();
          over = true;
        });
        (void)runtime::spawn("canceler", [&, stop] {
          while (!waiting) runtime::yield();
          for (int i = round / 50 % 50; i > 0; --i) cpu_relax();
          stop.cancel();
        });
        waiting = true;
        if (!group->wait(stop.context)) {
          ++gave_up;
          group->wait();
        }
        group.reset();
        while (!over || !stop.context.done()) runtime::yield();
      }
    });
  }
  CHECK(gave_up > 0);
}

/// Says nothing by itself: TSan and ASan do.
TEST_CASE("wait group: who finds the counter at zero destroys the group, and the last done() is through with it",
          "[sync][wait_group]") {
  static constexpr int kRounds = 5'000;
  std::atomic<int> over{0};
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 4});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int round = 0; round < kRounds; ++round) {
        auto group = std::make_unique<sync::WaitGroup>();
        group->add();
        // Gives up, and leaves its mark: done() takes the slow way.
        const auto stop = context::with_timeout(context::background(), std::chrono::microseconds(100));
        (void)group->wait(stop.context);
        stop.cancel();
        std::atomic<bool> go{false};
        (void)runtime::spawn("worker", [&go, &over, here = group.get()] {
          while (!go.load(std::memory_order_relaxed)) runtime::yield();
          here->done();
          over.fetch_add(1, std::memory_order_relaxed);
        });
        runtime::yield();
        go.store(true, std::memory_order_relaxed);
        for (int i = 0; i < 2'000 && group->count() != 0; ++i) cpu_relax();
        for (int i = round % 100; i > 0; --i) cpu_relax();
        group->wait();
        group.reset();
        while (over.load(std::memory_order_relaxed) != round + 1) runtime::yield();
      }
    });
  }
  CHECK(over == kRounds);
}
