// Turns are counted, not time: who gets how many of them on one Processor.
#include <catch2/catch.hpp>

#include <algorithm>
#include <atomic>
#include <vector>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/wait.hpp"

using namespace fiberd;

TEST_CASE("a thousand fibers that yield get the same number of turns", "[scheduler][fairness]") {
  static constexpr std::size_t kFibers = 1'000;
  static constexpr std::uint64_t kTurns = 100 * kFibers;
  std::vector<std::uint64_t> turns(kFibers);
  std::vector<std::uint64_t> last(kFibers);
  std::uint64_t all = 0;
  std::uint64_t longest = 0;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (std::size_t i = 0; i < kFibers; ++i)
        (void)runtime::spawn("turns", [&, i] {
          while (all < kTurns) {
            ++all;
            ++turns[i];
            if (turns[i] > 1) longest = std::max(longest, all - last[i]);
            last[i] = all;
            runtime::yield();
          }
        });
    });
  }
  std::sort(turns.begin(), turns.end());
  CHECK(turns.front() * 10 >= turns[kFibers / 2] * 8);
  CHECK(longest <= 3 * kFibers);
}

TEST_CASE("two pinned fibers that yield to each other leave others their turns", "[scheduler][fairness]") {
  static constexpr int kTurns = 2'000;
  std::atomic<int> pinned_turns{0};
  int others = 0;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1});
    REQUIRE(rt);
    (*rt)->run([&] {
      for (int i = 0; i < 2; ++i)
        (void)runtime::spawn_on(0, "pinned", [&] {
          while (pinned_turns < kTurns) {
            ++pinned_turns;
            runtime::yield();
          }
        });
      while (pinned_turns < kTurns) {
        ++others;
        runtime::yield();
      }
    });
  }
  CHECK(others * 4 >= kTurns);
}

TEST_CASE("a due timer's fiber is next, however many wait with long slices", "[scheduler][fairness]") {
  static constexpr int kBusy = 64;
  static constexpr std::int64_t kSlice = 300'000;
  int turns = 0;
  int worst = 0;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 1});
    REQUIRE(rt);
    (*rt)->run([&] {
      bool stop = false;
      std::int64_t due = INT64_MAX;
      for (int i = 0; i < kBusy; ++i)
        (void)runtime::spawn("busy", [&] {
          while (!stop) {
            const std::int64_t begin = monotonic_now();
            if (begin >= due) ++turns;
            while (monotonic_now() - begin < kSlice) {
            }
            runtime::yield();
          }
        });
      for (int i = 0; i < 8; ++i) runtime::yield();
      std::vector<int> late;
      for (int i = 0; i < 15; ++i) {
        turns = 0;
        due = monotonic_now() + 1'000'000;
        (void)runtime::park_until(runtime::prepare_park(runtime::WaitReason::sleep), Deadline::at(due));
        late.push_back(turns);
      }
      stop = true;
      std::sort(late.begin(), late.end());
      worst = late[late.size() / 2];
    });
  }
  CHECK(worst <= 3);
}

TEST_CASE("what is pinned to a Processor is served while a fiber computes there beside an idle one",
          "[scheduler][fairness]") {
  bool in_time = false;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 2});
    REQUIRE(rt);
    (*rt)->run([&] {
      // On both, so one of them is where this fiber is.
      std::atomic<int> ran{0};
      for (unsigned i = 0; i < 2; ++i) (void)runtime::spawn_on(i, "probe", [&] { ++ran; });
      const std::int64_t limit = monotonic_now() + 1'000'000'000;
      while (ran != 2 && monotonic_now() < limit) {
      }
      in_time = ran == 2;
      while (ran != 2) runtime::yield();
    });
  }
  CHECK(in_time);
}
