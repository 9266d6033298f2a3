// The semaphore under simulated schedules: weights, contexts, try_acquire.
#include <catch2/catch.hpp>

#include <cstdlib>

#include "core/base/random.hpp"
#include "core/context/context.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;

TEST_CASE("semaphore: never more out than there are, none lost, nobody stuck, under 10,000 seeds",
          "[sync][semaphore][seeds]") {
  static constexpr std::uint64_t kUnits = 5;
  std::uint64_t waited_in_vain = 0;
  std::uint64_t tried_in_vain = 0;
  test::for_each_simulation(10'000, [&](std::uint64_t seed) {
    Random random(seed + 1);
    sync::Semaphore semaphore(kUnits);
    std::uint64_t out = 0;
    bool too_many = false;
    bool wrong_error = false;
    sync::WaitGroup group;
    for (int f = 0; f < 5; ++f) {
      const auto fiber = [&] {
        for (int i = 0; i < 50; ++i) {
          const std::uint64_t n = 1 + random.below(3);
          const std::uint32_t how = random.below(4);
          if (how == 0) {
            if (!semaphore.try_acquire(n)) {
              ++tried_in_vain;
              continue;
            }
          } else if (how == 1) {
            const auto brief =
                context::with_timeout(context::background(), std::chrono::nanoseconds(random.below(3000)));
            const std::error_code error = error_of(semaphore.acquire(brief.context, n));
            brief.cancel();
            if (error) {
              wrong_error = wrong_error || error != context::errc::deadline_exceeded;
              ++waited_in_vain;
              continue;
            }
          } else {
            wrong_error = wrong_error || !semaphore.acquire(n);
          }
          out += n;
          too_many = too_many || out > kUnits;
          if (random.below(2) == 0) {
            runtime::yield();
          } else {
            (void)runtime::sleep_for(std::chrono::nanoseconds(random.below(2000)));
          }
          out -= n;
          semaphore.release(n);
        }
      };
      test::invariant(group.go("holder", fiber).has_value(), "spawn");
    }
    group.wait();
    test::invariant(!too_many, "more units were out than there are");
    test::invariant(!wrong_error, "an error that cannot be");
    test::invariant(semaphore.available() == kUnits, "units were lost");
  });
  if (std::getenv("FIBERD_SEED") != nullptr) return;
  CHECK(waited_in_vain > 100);  // else the contexts were never tried
  CHECK(tried_in_vain > 100);
}

TEST_CASE("semaphore: a waiter for many is not overtaken, under 10,000 seeds", "[sync][semaphore][seeds]") {
  test::for_each_simulation(10'000, [&](std::uint64_t seed) {
    Random random(seed + 1);
    sync::Semaphore semaphore(3);
    int turn = 0;
    bool overtaken = false;
    (void)semaphore.acquire(3);
    sync::WaitGroup group;
    for (int f = 0; f < 5; ++f) {
      const auto waiter = [&, f] {
        const std::uint64_t n = 1 + static_cast<std::uint64_t>(f % 3);
        (void)semaphore.acquire(n);
        // Grants go in order of arrival; those granted in one go may run in any order.
        overtaken = overtaken || f > turn + 2 || f < turn - 2;
        ++turn;
        (void)runtime::sleep_for(std::chrono::nanoseconds(random.below(500)));
        semaphore.release(n);
      };
      test::invariant(group.go("waiter", waiter).has_value(), "spawn");
      (void)runtime::sleep_for(std::chrono::microseconds(100));  // it hangs in the queue now
    }
    semaphore.release(3);
    group.wait();
    test::invariant(!overtaken, "overtaken");
  });
}

TEST_CASE("semaphore: those behind a waiter that gives up go on at once, under 10,000 seeds",
          "[sync][semaphore][seeds]") {
  test::for_each_simulation(10'000, [&](std::uint64_t seed) {
    Random random(seed + 1);
    sync::Semaphore semaphore(2);
    sync::WaitGroup small;
    (void)semaphore.acquire();
    // What is out comes back only when the small one has had its turn.
    (void)runtime::spawn("big", [&] {
      const auto brief = context::with_timeout(context::background(), std::chrono::nanoseconds(random.below(5000)));
      if (semaphore.acquire(brief.context, 2)) semaphore.release(2);
      brief.cancel();
    });
    const auto wants_one = [&] {
      (void)runtime::sleep_for(std::chrono::nanoseconds(random.below(5000)));
      (void)semaphore.acquire();
      semaphore.release();
    };
    test::invariant(small.go("small", wants_one).has_value(), "spawn");
    small.wait();
    semaphore.release();
  });
}
