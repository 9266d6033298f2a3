// Durations that stand for "as long as there is", and for the past, wherever one is added to the time of day.
#include <catch2/catch.hpp>
#include <chrono>

#include "core/context/context.hpp"
#include "core/context/waits.hpp"
#include "core/flow/circuit_breaker.hpp"
#include "core/flow/codel.hpp"
#include "core/flow/concurrency_limiter.hpp"
#include "core/flow/gradient_limit.hpp"
#include "core/flow/token_bucket.hpp"
#include "core/flow/worker_pool.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "core/sync/select.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::background;

static constexpr auto kEver = std::chrono::nanoseconds::max();
static constexpr auto kPast = std::chrono::nanoseconds::min();

TEST_CASE("contexts and sleeps of every length", "[durations][simulation]") {
  std::vector<std::string> wrong;
  const auto expect = [&wrong](bool holds, const char* what) {
    if (!holds) wrong.emplace_back(what);
  };
  bool slept = false;
  const auto outcome = runtime::Simulation(1).run([&] {
    const auto ever = context::with_timeout(background(), kEver);
    const auto nearly = context::with_timeout(ever.context, kEver - 1ns);
    const auto past = context::with_timeout(background(), kPast);
    const auto begin = context::with_deadline(background(), Deadline::at(INT64_MIN));
    const auto below = context::with_timeout(begin.context, kEver);
    expect(!ever.context.done() && ever.context.deadline().is_never(), "for ever");
    expect(!nearly.context.done(), "nearly for ever");
    expect(past.context.err() == context::errc::deadline_exceeded, "in the past");
    expect(begin.context.err() == context::errc::deadline_exceeded, "before all time");
    expect(below.context.err() == context::errc::deadline_exceeded, "below what was before all time");
    expect(context::sleep(background(), kPast) && runtime::sleep_for(kPast), "slept in the past");
    (void)runtime::spawn("sleeper", [&slept, ctx = nearly.context] { slept = context::sleep(ctx, kEver).has_value(); });
    (void)runtime::spawn("sleeper", [&slept] { slept = runtime::sleep_for(kEver).has_value(); });
    std::size_t which = sync::select(sync::after(kEver), sync::after(1h), sync::on_done(ever.context));
    expect(which == 1, "an hour is less than for ever");
    which = sync::select(sync::after(kPast), sync::after(kEver));
    expect(which == 0, "the past has come");
    expect(!slept, "still asleep");
    ever.cancel();
    nearly.cancel();
    expect(nearly.context.err() == context::errc::canceled, "canceled with its parent");
  });
  CHECK(outcome.deadlock);  // the second sleeper
  CHECK(wrong == std::vector<std::string>{});
}

TEST_CASE("flow: options of every length", "[durations][simulation]") {
  std::vector<std::string> wrong;
  const auto expect = [&wrong](bool holds, const char* what) {
    if (!holds) wrong.emplace_back(what);
  };
  const auto outcome = runtime::Simulation(2).run([&] {
    flow::WorkerPool pool({.most = 1, .max_wait = kEver, .idle = kEver});
    expect(pool.run([] { return 5; }) == 5, "a job");
    (void)runtime::sleep_for(1h);
    expect(pool.workers() == 1, "its worker idles for ever");
    (void)pool.shutdown();

    flow::ConcurrencyLimiter limiter({.limit = 1, .queue = 1, .max_wait = kEver, .codel = {.interval = kEver}});
    {
      const auto first = limiter.acquire(background());
      (void)runtime::spawn("second", [&] { expect(limiter.acquire(background()).has_value(), "waited"); });
      (void)runtime::sleep_for(1h);
      expect(limiter.queued() == 1, "waits for ever");
    }
    (void)runtime::sleep_for(1ms);

    flow::CircuitBreaker breaker({.consecutive_failures = 1, .open_for = kEver, .open_for_most = kEver});
    breaker.begin()->failed();
    (void)runtime::sleep_for(24h);
    expect(!breaker.begin(), "open for ever");
    flow::CircuitBreaker doubling({.consecutive_failures = 1, .open_for = kEver / 2 - 1h, .open_for_most = kEver});
    doubling.begin()->failed();
    (void)runtime::sleep_for(kEver / 2);
    doubling.begin()->failed();
    expect(!doubling.begin(), "open for the double");

    flow::GradientLimit gradient({.window = kEver}, 10);
    for (std::int64_t now = 1; now < 5; ++now)
      expect(!gradient.sample(now * 1'000'000'000, 5, 1), "its window never ends");

    flow::TokenBucket bucket(1, 1);
    const auto past = context::with_deadline(background(), Deadline::at(INT64_MIN));
    const std::error_code error = error_of(bucket.wait(past.context));
    expect(error == context::errc::deadline_exceeded, "no token before all time");
  });
  CHECK_FALSE(outcome.deadlock);
  CHECK(wrong == std::vector<std::string>{});
  flow::CoDel codel({.target = 1ns, .interval = kEver});
  for (std::int64_t now = 1; now < 10; ++now) CHECK_FALSE(codel.drop(now, 1'000, 5));
}
