#include "core/runtime/simulation.hpp"

#include <catch2/catch.hpp>
#include <vector>

#include "core/runtime/runtime.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

static std::vector<int> interleaving(std::uint64_t seed) {
  std::vector<int> order;
  Simulation(seed).run([&] {
    for (int id = 0; id < 4; ++id)
      (void)spawn("f", [&order, id] {
        for (int i = 0; i < 3; ++i) {
          order.push_back(id);
          yield();
        }
      });
  });
  return order;
}

TEST_CASE("a seed replays its run, and seeds differ", "[simulation]") {
  int different = 0;
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    CHECK(interleaving(seed) == interleaving(seed));
    different += interleaving(seed) != interleaving(seed + 1);
  }
  CHECK(different >= 15);
}

TEST_CASE("sleeping costs no time", "[simulation]") {
  const std::int64_t begin = monotonic_now();
  const auto outcome = Simulation(1).run([] { (void)sleep_for(24h); });
  CHECK(outcome.elapsed_ns >= std::chrono::nanoseconds(24h).count());
  CHECK(monotonic_now() - begin < 5'000'000'000);
  CHECK_FALSE(outcome.deadlock);
}

TEST_CASE("a sleep that was cancelled does not count when all have ended", "[simulation]") {
  CancelSource c;
  const auto outcome = Simulation(1).run([&] {
    (void)spawn("sleeper", [&] { (void)sleep_for(24h, &c); });
    (void)sleep_for(1ms);
    c.cancel();
  });
  CHECK(outcome.elapsed_ns < std::chrono::nanoseconds(1s).count());
}

TEST_CASE("a deadlock is found and names the fibers", "[simulation]") {
  const auto outcome = Simulation(7).run([] {
    (void)spawn("stuck-one", [] { (void)park_until(prepare_park(WaitReason::channel_receive)); });
    (void)park_until(prepare_park(WaitReason::mutex));
  });
  CHECK(outcome.deadlock);
  CHECK(outcome.report.find("stuck-one") != std::string::npos);
  CHECK(outcome.report.find("channel") != std::string::npos);
  CHECK(outcome.report.find("mutex") != std::string::npos);
  CHECK(outcome.report.find("simulation_test.cpp") != std::string::npos);
}

TEST_CASE("park, time-out and cancel race under 10,000 seeds", "[simulation][seeds]") {
  std::uint64_t outcomes[4]{};
  int wrong = 0;
  static constexpr std::uint64_t kSeeds = test::kSanitized ? 1'000 : 10'000;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    int ended = 0;
    int won = 0;
    Wake result = Wake::none;
    const auto outcome = Simulation(seed).run([&] {
      static Ticket t;
      CancelSource c;
      int left = 2;
      (void)spawn("waiter", [&] {
        t = prepare_park(WaitReason::test);
        (void)spawn("waker", [&] {
          (void)sleep_for(500ns);
          won += wake(t) ? 1 : 0;
          --left;
        });
        (void)spawn("canceler", [&] {
          (void)sleep_for(500ns);
          c.cancel();
          --left;
        });
        result = park_until(t, Deadline::in(2us), &c);
        ++ended;
        while (left != 0) yield();
      });
      while (ended == 0 || left != 0) (void)sleep_for(1us);
    });
    ++outcomes[static_cast<unsigned>(result)];
    if (outcome.deadlock || ended != 1 || won != (result == Wake::ready ? 1 : 0)) {
      ++wrong;
      WARN("seed " << seed << " replays the failure");
    }
  }
  CHECK(wrong == 0);
  CHECK(outcomes[1] > kSeeds / 100);
  CHECK(outcomes[2] > kSeeds / 100);
  CHECK(outcomes[3] > kSeeds / 100);
}
