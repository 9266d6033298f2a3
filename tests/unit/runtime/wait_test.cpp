#include <atomic>
#include <catch2/catch.hpp>
#include <thread>

#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "core/runtime/wait.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

TEST_CASE("a wake before the park is not lost", "[wait]") {
  Wake w = Wake::none;
  test::start_runtime(1)->run([&] {
    const Ticket t = prepare_park(WaitReason::test);
    wake(t);
    w = park_until(t);
  });
  CHECK(w == Wake::ready);
}

TEST_CASE("a stale ticket wakes nobody", "[wait]") {
  bool first = false;
  bool second = true;
  Wake later = Wake::none;
  test::start_runtime(1)->run([&] {
    const Ticket t = prepare_park(WaitReason::test);
    first = wake(t);
    (void)park_until(t);
    const Ticket next = prepare_park(WaitReason::test);
    second = wake(t);
    later = park_until(next, Deadline::in(1ms));
  });
  CHECK(first);
  CHECK_FALSE(second);
  CHECK(later == Wake::timeout);
}

TEST_CASE("deadlines: past, near, beaten by a wake", "[wait]") {
  Wake past = Wake::none;
  Wake near = Wake::none;
  Wake beaten = Wake::none;
  std::int64_t waited = 0;
  test::start_runtime(2)->run([&] {
    past = park_until(prepare_park(WaitReason::test), Deadline::at(1));
    const std::int64_t begin = monotonic_now();
    near = park_until(prepare_park(WaitReason::test), Deadline::in(5ms));
    waited = monotonic_now() - begin;
    const Ticket t = prepare_park(WaitReason::test);
    (void)spawn("waker", [t] { wake(t); });
    beaten = park_until(t, Deadline::in(10s));
  });
  CHECK(past == Wake::timeout);
  CHECK(near == Wake::timeout);
  CHECK(waited >= 5'000'000);
  CHECK(beaten == Wake::ready);
}

TEST_CASE("cancellation: before, during, and none after a wake", "[wait]") {
  Wake before = Wake::none;
  Wake during = Wake::none;
  Wake woken = Wake::none;
  test::start_runtime(2)->run([&] {
    CancelSource done;
    done.cancel();
    before = park_until(prepare_park(WaitReason::test), Deadline::never(), &done);
    CancelSource c;
    (void)spawn("canceler", [&c] { c.cancel(); });
    during = park_until(prepare_park(WaitReason::test), Deadline::never(), &c);
    const Ticket t = prepare_park(WaitReason::test);
    wake(t);
    woken = park_until(t, Deadline::at(1), &done);
  });
  CHECK(before == Wake::canceled);
  CHECK(during == Wake::canceled);
  CHECK(woken == Wake::ready);
}

TEST_CASE("wake, time-out and cancellation from three threads: one winner, nobody lost", "[wait]") {
  std::atomic<int> outcomes[4]{};
  std::atomic<int> won{0};
  constexpr int kRounds = 2000;
  test::start_runtime(2)->run([&] {
    for (int i = 0; i < kRounds; ++i) {
      CancelSource c;
      std::atomic<int> left{2};
      const Ticket main = prepare_park(WaitReason::test);
      (void)abandon_park(main);
      const Ticket t = prepare_park(WaitReason::test);
      std::thread waker;
      (void)spawn("wake", [&, t] {
        won += wake(t) ? 1 : 0;
        --left;
      });
      (void)spawn("cancel", [&] {
        c.cancel();
        --left;
      });
      const Wake w = park_until(t, Deadline::in(std::chrono::microseconds(i % 20)), &c);
      ++outcomes[static_cast<unsigned>(w)];
      while (left != 0) yield();
    }
  });
  CHECK(outcomes[0] == 0);
  CHECK(outcomes[1] + outcomes[2] + outcomes[3] == kRounds);
  CHECK(won == outcomes[1]);
}

TEST_CASE("sleep obeys duration and cancellation", "[wait]") {
  std::error_code slept;
  std::error_code canceled;
  std::int64_t took = 0;
  test::start_runtime(1)->run([&] {
    const std::int64_t begin = monotonic_now();
    slept = error_of(sleep_for(3ms));
    took = monotonic_now() - begin;
    CancelSource c;
    (void)spawn("cancel", [&c] { c.cancel(); });
    canceled = error_of(sleep_for(10s, &c));
  });
  CHECK_FALSE(slept);
  CHECK(took >= 3'000'000);
  CHECK(canceled == std::errc::operation_canceled);
}

static void sleep_until(std::int64_t time) { (void)park_until(prepare_park(WaitReason::sleep), Deadline::at(time)); }

TEST_CASE("many sleepers wake in the order of their deadlines", "[wait]") {
  for (std::uint64_t seed = 1; seed <= 20; ++seed) {
    std::vector<int> order;
    Simulation(seed).run([&] {
      for (int i : {5, 1, 4, 2, 3})
        (void)spawn("sleeper", [&order, i] {
          (void)sleep_for(std::chrono::milliseconds(4 * i));
          order.push_back(i);
        });
      (void)sleep_for(60ms);
    });
    CHECK(order == std::vector<int>{1, 2, 3, 4, 5});
  }
}

TEST_CASE("a fiber that computes is told that a far deadline has passed", "[wait]") {
  const unsigned processors = GENERATE(1U, 2U);
  bool before = true;
  bool after = false;
  test::start_runtime(processors)->run([&] {
    const Deadline deadline = Deadline::in(300ms);
    before = past(deadline);
    const std::int64_t most = monotonic_now() + 10'000'000'000;
    while (monotonic_now() < deadline.ns()) {
    }
    // sysmon has had its time, unless the machine kept it from running.
    while (!after && monotonic_now() < most) after = past(deadline);
  });
  CHECK_FALSE(before);
  CHECK(after);
}

TEST_CASE("sleepers that are found due at one look run in the order of their deadlines", "[wait]") {
  // Twenty times: sysmon may have found them, or a look have come between two deadlines.
  int in_order = 0;
  auto rt = Runtime::start({.gomaxprocs = 1, .handoff_max = 0});  // nobody else runs fibers while the Processor is held
  REQUIRE(rt);
  (*rt)->run([&] {
    for (int round = 0; round < 20; ++round) {
      std::vector<int> order;
      const std::int64_t begin = monotonic_now() + 10'000'000;
      static constexpr std::int64_t kStep = 2'100;  // ns: deadlines are told apart by some 1,024
      for (int i : {5, 1, 4, 2, 3})
        (void)spawn("sleeper", [&order, i, begin] {
          sleep_until(begin + i * kStep);
          order.push_back(i);
        });
      while (monotonic_now() < begin - 200'000) yield();
      while (monotonic_now() < begin + 200'000) {
      }
      while (order.size() < 5) yield();
      in_order += order == std::vector<int>{1, 2, 3, 4, 5} ? 1 : 0;
    }
  });
  CHECK((in_order >= 15 || test::kSanitized));  // which miss the moment
}

TEST_CASE("a fiber that has begun to wait is not made to yield: its wake would be lost", "[wait]") {
  // Its Processor is taken from it between the two, and spawn is where it would notice.
  Wake after_spawn = Wake::none;
  bool woke = false;
  std::uint64_t handoffs = 0;
  Wake after_budget = Wake::none;
  auto rt = test::start_runtime(1);
  rt->run([&] {
    const auto taken = [&] { return read_mem_stats().handoffs; };
    const std::uint64_t before = taken();
    (void)spawn("waits its turn", [] {});
    const Ticket t = prepare_park(WaitReason::test);
    const std::int64_t until = monotonic_now() + 5'000'000'000;
    while (taken() == before && monotonic_now() < until) {
    }
    handoffs = taken() - before;
    (void)spawn("waker", [&woke, t] { woke = wake(t); });
    after_spawn = park_until(t, Deadline::in(5s));

    const Ticket budget = prepare_park(WaitReason::test);
    (void)spawn("waker", [budget] { wake(budget); });
    for (int i = 0; i < 1'000; ++i) spend_budget();
    after_budget = park_until(budget, Deadline::in(5s));
  });
  CHECK(handoffs >= 1);
  CHECK(after_spawn == Wake::ready);
  CHECK(woke);
  CHECK(after_budget == Wake::ready);
}
