// Tasks under simulated schedules: joiners that wait, give up and come again, handles that die before and after.
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <vector>

#include "core/base/log.hpp"
#include "core/base/random.hpp"
#include "core/sync/task.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;

namespace {
void no_log(LogLevel, std::string_view) noexcept {}
}  // namespace

TEST_CASE("task: each result is told, a value to one only, nobody stuck, nothing kept, under 10,000 seeds",
          "[sync][task][seeds]") {
  std::uint64_t given_up = 0;
  std::uint64_t reported = 0;
  set_log_sink(&no_log);  // of exceptions nobody joins
  test::for_each_simulation(10'000, [&](std::uint64_t seed) {
    Random random(seed + 1);
    const auto alive = std::make_shared<int>(0);
    const std::uint64_t panicked = runtime::read_mem_stats().fibers_panicked;
    std::uint64_t unheard = 0;
    bool wrong = false;
    for (int round = 0; round < 4; ++round) {
      const std::uint32_t kind = random.below(3);  // a value, an error, an exception
      auto spawned = sync::spawn_task("task", [&random, kind, alive]() -> Result<std::shared_ptr<int>> {
        for (std::uint32_t i = random.below(3); i != 0; --i)
          (void)runtime::sleep_for(std::chrono::nanoseconds(random.below(2000)));
        if (kind == 1) return fail(std::errc::io_error);
        if (kind == 2) throw std::runtime_error("thrown");
        return alive;
      });
      test::invariant(spawned.has_value(), "spawn");
      std::uint64_t values = 0;
      std::uint64_t told = 0;
      std::uint64_t heard = 0;
      {
        sync::Task<std::shared_ptr<int>> task = std::move(*spawned);
        sync::WaitGroup group;
        const std::uint32_t joiners = random.below(4);
        for (std::uint32_t j = 0; j < joiners; ++j) {
          const auto join = [&] {
            const bool brief = random.below(2) == 0;
            const auto ctx =
                brief ? context::with_timeout(context::background(), std::chrono::nanoseconds(1 + random.below(3000)))
                      : context::with_cancel(context::background());
            try {
              const auto r = task.join(ctx.context);
              if (r) {
                ++values;
                wrong = wrong || kind != 0 || *r != alive;
              } else if (r.error() == context::errc::deadline_exceeded) {
                ++given_up;
                wrong = wrong || !brief;
              } else {
                ++told;
                wrong = wrong || r.error() != (kind == 1 ? make_error_code(std::errc::io_error)
                                                         : make_error_code(sync::errc::already_joined));
              }
            } catch (const std::runtime_error&) {
              ++heard;
              wrong = wrong || kind != 2;
            }
            ctx.cancel();
          };
          test::invariant(group.go("joiner", join).has_value(), "spawn");
        }
        group.wait();
        wrong = wrong || values > 1 || (kind == 0 && told != 0 && values != 1);
        if (random.below(2) == 0) (void)task.wait(context::background());
        if (kind == 2 && heard == 0) ++unheard;
      }
    }
    // Detached ones end by themselves.
    (void)runtime::sleep_for(std::chrono::microseconds(50));
    reported += unheard;
    test::invariant(!wrong, "a joiner was told something else than what happened");
    test::invariant(runtime::read_mem_stats().fibers_panicked - panicked == unheard,
                    "an exception was reported that somebody took, or not though nobody did");
    test::invariant(alive.use_count() == 1, "a result was kept");
  });
  set_log_sink(nullptr);
  CHECK(given_up > 0);
  CHECK(reported > 0);
}
