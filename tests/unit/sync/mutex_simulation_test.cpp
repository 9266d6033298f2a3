// The mutex under simulated schedules: lock, lock under a context, try_lock; short and long sections.
#include <catch2/catch.hpp>

#include <cstdlib>

#include "core/base/random.hpp"
#include "core/context/context.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;

TEST_CASE("mutex: one inside, nobody stuck, under 10,000 seeds", "[sync][mutex][seeds]") {
  std::uint64_t gave_up = 0;
  std::uint64_t busy = 0;
  test::for_each_simulation(10'000, [&](std::uint64_t seed) {
    Random random(seed + 1);
    sync::Mutex mutex;
    int inside = 0;
    bool crowded = false;
    bool wrong_error = false;
    int counter = 0;
    int expected = 0;
    sync::WaitGroup group;
    for (int f = 0; f < 5; ++f) {
      const auto fiber = [&] {
        for (int i = 0; i < 50; ++i) {
          const std::uint32_t how = random.below(4);
          if (how == 0) {
            if (!mutex.try_lock()) {
              ++busy;
              continue;
            }
          } else if (how == 1) {
            const auto brief =
                context::with_timeout(context::background(), std::chrono::nanoseconds(random.below(3000)));
            const std::error_code error = error_of(mutex.lock(brief.context));
            brief.cancel();
            if (error) {
              wrong_error = wrong_error || error != context::errc::deadline_exceeded;
              ++gave_up;
              continue;
            }
          } else {
            mutex.lock();
          }
          crowded = crowded || ++inside != 1;
          const int seen = counter;
          // Rarely long enough for the hand-over to a starving waiter (1 ms).
          const std::uint32_t stay = random.below(16);
          if (stay == 0) {
            (void)runtime::sleep_for(std::chrono::microseconds(300));
          } else if (stay < 8) {
            runtime::yield();
          }
          counter = seen + 1;
          ++expected;
          --inside;
          wrong_error = wrong_error || !mutex.unlock();
        }
      };
      test::invariant(group.go("locker", fiber).has_value(), "spawn");
    }
    group.wait();
    test::invariant(!crowded, "two inside");
    test::invariant(!wrong_error, "an error that cannot be");
    test::invariant(counter == expected, "an increment was lost");
    test::invariant(!mutex.locked() && mutex.try_lock(), "not free at the end");
    (void)mutex.unlock();
  });
  if (std::getenv("FIBERD_SEED") != nullptr) return;
  CHECK(gave_up > 100);  // else the contexts were never tried
  CHECK(busy > 100);
}
