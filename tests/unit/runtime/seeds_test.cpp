#include "tests/support/seeds.hpp"

#include <catch2/catch.hpp>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

/// FIBERD_SEED set or unset for one scope.
class SeedVariable {
 public:
  explicit SeedVariable(const char* value) {
    if (const char* const old = std::getenv("FIBERD_SEED")) old_ = old;
    set(value);
  }
  ~SeedVariable() { set(old_ ? old_->c_str() : nullptr); }
  SeedVariable(const SeedVariable&) = delete;
  SeedVariable& operator=(const SeedVariable&) = delete;

 private:
  static void set(const char* value) {
    if (value != nullptr) {
      setenv("FIBERD_SEED", value, 1);
    } else {
      unsetenv("FIBERD_SEED");
    }
  }
  std::optional<std::string> old_;
};

/// A counter that is read, left, and written back: lost updates depend on the schedule.
std::string racy(std::uint64_t seed) {
  return test::simulate(seed, [](std::uint64_t) {
    int counter = 0;
    int left = 2;
    for (int f = 0; f < 2; ++f)
      (void)spawn("incrementer", [&] {
        const int seen = counter;
        if (seen == 0) (void)sleep_for(300ns);
        counter = seen + 1;
        --left;
      });
    while (left != 0) (void)sleep_for(1us);
    test::invariant(counter == 2, "an increment was lost");
  });
}

}  // namespace

TEST_CASE("seeds: the first broken one is named, and its number alone replays it", "[simulation][seeds]") {
  std::string broken;
  {
    const SeedVariable none(nullptr);
    broken = test::first_broken_seed(1000, racy);
  }
  REQUIRE(broken.find("seed ") == 0);
  CHECK(broken.find("an increment was lost") != std::string::npos);
  const std::size_t at = broken.find("FIBERD_SEED=");
  REQUIRE(at != std::string::npos);
  const std::string seed = broken.substr(at + 12);
  int runs = 0;
  {
    const SeedVariable one(seed.c_str());
    CHECK(test::first_broken_seed(1000, [&](std::uint64_t s) {
            ++runs;
            return racy(s);
          }) == broken);
  }
  CHECK(runs == 1);
}

TEST_CASE("seeds: all are run when none breaks; a deadlock and an exception break", "[simulation][seeds]") {
  const SeedVariable none(nullptr);
  std::vector<std::uint64_t> seen;
  CHECK(test::first_broken_seed(5, [&](std::uint64_t seed) {
          seen.push_back(seed);
          return std::string();
        }).empty());
  CHECK(seen == std::vector<std::uint64_t>{0, 1, 2, 3, 4});
  const std::string stuck = test::first_broken_seed(1, [](std::uint64_t s) {
    return test::simulate(s, [](std::uint64_t) { (void)park_until(prepare_park(WaitReason::channel_receive)); });
  });
  CHECK(stuck.find("seed 0: deadlock") == 0);
  CHECK(stuck.find("waits for channel") != std::string::npos);
  CHECK(test::first_broken_seed(1, [](std::uint64_t) -> std::string { throw 42; }).find("type int") !=
        std::string::npos);
  const SeedVariable bad("12x");
  CHECK(test::first_broken_seed(1, racy).find("not a number") != std::string::npos);
}

TEST_CASE("a deadlock destroys nothing of the fibers it abandons", "[simulation]") {
  // The function's owner lives on a stack that goes away: its deleter must not be called.
  static int destroyed = 0;
  const auto outcome = Simulation(1).run([] {
    int here = 0;
    const auto token = [&here](int*) { destroyed += 1 + here; };
    (void)spawn("owner", [owned = std::unique_ptr<int, decltype(token)>(&here, token)] {
      (void)park_until(prepare_park(WaitReason::channel_receive));
    });
    (void)park_until(prepare_park(WaitReason::mutex));
  });
  CHECK(outcome.deadlock);
  CHECK(destroyed == 0);
}

TEST_CASE("seeds: a simulation after a deadlock, and after one with many fibers, starts anew", "[simulation][seeds]") {
  for (std::uint64_t seed = 0; seed < 20; ++seed) {
    const auto stuck = Simulation(seed).run([] { (void)park_until(prepare_park(WaitReason::mutex)); });
    CHECK(stuck.deadlock);
    int ended = 0;
    const auto crowd = Simulation(seed).run([&] {
      for (int i = 0; i < 200; ++i)
        (void)spawn("one of many", [&] {
          yield();
          ++ended;
        });
    });
    CHECK_FALSE(crowd.deadlock);
    CHECK(crowd.fibers == 201);
    CHECK(ended == 200);
  }
}
