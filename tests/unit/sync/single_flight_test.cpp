#include "core/sync/single_flight.hpp"

#include <catch2/catch.hpp>

#include <atomic>
#include <stdexcept>

#include "core/base/clock.hpp"
#include "core/base/log.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

TEST_CASE("single flight: an exception is told to a caller or reported, whenever its caller leaves",
          "[sync][single_flight][seeds]") {
  set_log_sink([](LogLevel, std::string_view) noexcept {});
  test::for_each_simulation(5'000, [](std::uint64_t) {
    const std::uint64_t before = runtime::read_mem_stats().fibers_panicked;
    std::uint64_t told = 0;
    std::uint64_t left = 0;
    {
      sync::SingleFlight<int, int> flights;
      // Its wait ends and the flight lands in the same moment: which of them is first is the schedule's.
      const auto brief = context::with_timeout(context::background(), 1ms);
      try {
        const auto flight = flights.call(brief.context, 1, []() -> int {
          (void)runtime::sleep_for(1ms);
          throw std::runtime_error("thrown");
        });
        left += flight.result ? 0 : 1;
      } catch (const std::runtime_error&) {
        ++told;
      }
      brief.cancel();
    }
    const std::uint64_t reported = runtime::read_mem_stats().fibers_panicked - before;
    test::invariant(told + left == 1, "neither a result nor an exception");
    test::invariant(told + reported == 1, "told to nobody, or twice");
  });
  set_log_sink(nullptr);
}

TEST_CASE("single flight: who leaves as the flight lands does not take its exception along",
          "[sync][single_flight][threads]") {
  set_log_sink([](LogLevel, std::string_view) noexcept {});
  std::atomic<std::uint64_t> flown{0};
  std::atomic<std::uint64_t> told{0};
  std::uint64_t reported = 0;
  // More Processors than most machines have: what is looked for is one that is off its thread between the end of its
  // wait and its leaving. That is rare, one in some thousand: the seeds above show the rule, this that threads keep it.
  auto rt = runtime::Runtime::start({.gomaxprocs = 12});
  REQUIRE(rt);
  (*rt)->run([&] {
    static constexpr int kFlights = test::kSanitized ? 200 : 1'000;
    std::atomic<int> callers{6};
    sync::WaitGroup all;
    for (int k = 0; k < 6; ++k)
      (void)all.go("caller", [&] {
        sync::SingleFlight<int, int> flights;
        for (int i = 0; i < kFlights; ++i) {
          const Deadline due = Deadline::in(60us);
          const auto brief = context::with_deadline(context::background(), due);
          const std::int64_t lands = due.ns() + static_cast<std::int64_t>(runtime::random() % 40'000) - 20'000;
          try {
            (void)flights.call(brief.context, 1, [&flown, lands]() -> int {
              ++flown;  // here: a context that is done already begins no flight
              while (monotonic_now() < lands) {
              }
              throw std::runtime_error("thrown");
            });
          } catch (const std::runtime_error&) {
            ++told;
          }
          brief.cancel();
          while (flights.size() != 0) runtime::yield();
        }
        --callers;
      });
    for (int k = 0; k < 3; ++k)
      (void)all.go("busy", [&] {
        while (callers != 0) {
          const std::int64_t until = monotonic_now() + 15'000;
          while (monotonic_now() < until) {
          }
          runtime::yield();
        }
      });
    all.wait();
    reported = runtime::read_mem_stats().fibers_panicked;  // each SingleFlight has waited for its functions
  });
  set_log_sink(nullptr);
  CHECK(flown == told + reported);
}
