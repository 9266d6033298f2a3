#include "core/flow/circuit_breaker.hpp"

#include <catch2/catch.hpp>
#include <optional>
#include <thread>
#include <vector>

#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using flow::CircuitBreaker;
using State = flow::CircuitBreaker::State;

static void call(CircuitBreaker& breaker, bool good) {
  if (auto c = breaker.begin()) good ? c->succeeded() : c->failed();
}

TEST_CASE("opens by the ratio of the window, not before least_calls", "[circuit_breaker]") {
  State before{};
  State after{};
  std::error_code refused;
  std::uint64_t counted = 0;
  runtime::Simulation(1).run([&] {
    CircuitBreaker breaker({.failure_ratio = 0.5, .least_calls = 10});
    for (int i = 0; i < 9; ++i) call(breaker, i % 2 == 0);
    before = breaker.state();
    call(breaker, false);
    after = breaker.state();
    if (auto c = breaker.begin(); !c) refused = c.error();
    counted = breaker.refused() + breaker.opened();
  });
  CHECK(before == State::closed);
  CHECK(after == State::open);
  CHECK(refused == flow::errc::circuit_open);
  CHECK(counted == 2);
}

TEST_CASE("what is older than the window is forgotten", "[circuit_breaker]") {
  State state{};
  State at_once{};
  runtime::Simulation(1).run([&] {
    CircuitBreaker breaker({.window = 10s, .failure_ratio = 0.5, .least_calls = 10});
    for (int i = 0; i < 9; ++i) call(breaker, false);
    (void)runtime::sleep_for(11s);
    call(breaker, false);
    state = breaker.state();
    for (int i = 0; i < 9; ++i) call(breaker, false);
    at_once = breaker.state();
  });
  CHECK(state == State::closed);
  CHECK(at_once == State::open);
}

TEST_CASE("opens by failures in a row, which a success interrupts", "[circuit_breaker]") {
  State four{};
  State five{};
  runtime::Simulation(1).run([&] {
    CircuitBreaker breaker({.failure_ratio = 2, .consecutive_failures = 5});
    for (int i = 0; i < 4; ++i) call(breaker, false);
    call(breaker, true);
    for (int i = 0; i < 4; ++i) call(breaker, false);
    four = breaker.state();
    call(breaker, false);
    five = breaker.state();
  });
  CHECK(four == State::closed);
  CHECK(five == State::open);
}

TEST_CASE("half-open: so many probes at once; successes close, one failure opens for longer", "[circuit_breaker]") {
  std::vector<State> states;
  int probes = 0;
  int probes_again = 0;
  std::int64_t first_wait = 0;
  std::int64_t second_wait = 0;
  std::int64_t third_wait = 0;
  std::int64_t after_recovery = 0;
  runtime::Simulation(1).run([&] {
    CircuitBreaker breaker(
        {.failure_ratio = 2, .consecutive_failures = 1, .open_for = 1s, .open_for_most = 3s, .probes = 2});
    const auto fail_once = [&] {
      call(breaker, false);
      return breaker.retry_at() - monotonic_now();
    };
    first_wait = fail_once();
    (void)runtime::sleep_for(1s);
    states.push_back(breaker.state());
    std::vector<CircuitBreaker::Call> calls;
    for (int i = 0; i < 5; ++i)
      if (auto c = breaker.begin()) calls.push_back(std::move(*c));
    probes = static_cast<int>(calls.size());
    calls[0].succeeded();
    states.push_back(breaker.state());
    calls[1].failed();
    states.push_back(breaker.state());
    second_wait = breaker.retry_at() - monotonic_now();
    (void)runtime::sleep_for(2s);
    third_wait = fail_once();
    (void)runtime::sleep_for(3s);
    calls.clear();
    {
      // A probe that nobody reports gives its place back and says nothing.
      std::optional<CircuitBreaker::Call> dead;
      if (auto c = breaker.begin()) dead.emplace(std::move(*c));
    }
    for (int i = 0; i < 5; ++i)
      if (auto c = breaker.begin()) calls.push_back(std::move(*c));
    probes_again = static_cast<int>(calls.size());
    for (auto& c : calls) c.succeeded();
    states.push_back(breaker.state());
    after_recovery = fail_once();
  });
  CHECK(states == std::vector<State>{State::half_open, State::half_open, State::open, State::closed});
  CHECK(probes == 2);
  CHECK(probes_again == 2);
  const auto about = [](std::int64_t ns, std::int64_t s) {
    return ns > s * 1'000'000'000 - 100'000 && ns <= s * 1'000'000'000;
  };
  CHECK(about(first_wait, 1));
  CHECK(about(second_wait, 2));
  CHECK(about(third_wait, 3));
  CHECK(about(after_recovery, 1));
}

TEST_CASE("stragglers of another time change nothing", "[circuit_breaker]") {
  std::vector<State> states;
  runtime::Simulation(1).run([&] {
    CircuitBreaker breaker({.failure_ratio = 2, .consecutive_failures = 2, .open_for = 1s});
    std::vector<CircuitBreaker::Call> old;
    for (int i = 0; i < 6; ++i) old.push_back(std::move(*breaker.begin()));
    old[0].failed();
    old[1].failed();
    states.push_back(breaker.state());
    (void)runtime::sleep_for(1s);
    auto probe = breaker.begin();
    old[2].succeeded();  // is no probe
    states.push_back(breaker.state());
    probe->succeeded();
    states.push_back(breaker.state());
    old[3].failed();
    old[4].failed();
    states.push_back(breaker.state());
  });
  CHECK(states == std::vector<State>{State::open, State::half_open, State::closed, State::closed});
}

TEST_CASE("odd options are made sane", "[circuit_breaker]") {
  runtime::Simulation(1).run([&] {
    CircuitBreaker breaker(
        {.window = -5ns, .failure_ratio = 0, .least_calls = 0, .open_for = -1s, .open_for_most = -1s, .probes = 0});
    for (int i = 0; i < 100; ++i) call(breaker, true);
    for (int i = 0; i < 100; ++i) call(breaker, false);
  });
  SUCCEED();
}

TEST_CASE("threads report and probe at once", "[circuit_breaker][threads]") {
  CircuitBreaker breaker({.failure_ratio = 0.3, .least_calls = 10, .open_for = 1us, .open_for_most = 1us, .probes = 3});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 20'000; ++i) call(breaker, (i + t) % 5 > 1);
    });
  for (std::thread& t : threads) t.join();
  CHECK(breaker.opened() > 0);
  for (int i = 0; i < 1000 && breaker.state() != State::closed; ++i) call(breaker, true);
  CHECK(breaker.state() == State::closed);  // no probe's place was lost
}
