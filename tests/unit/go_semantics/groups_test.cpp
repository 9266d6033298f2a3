// errgroup, semaphore, singleflight, rate.
#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/context/waits.hpp"
#include "core/flow/rate.hpp"
#include "core/flow/sometimes.hpp"
#include "core/flow/token_bucket.hpp"
#include "core/sync/error_group.hpp"
#include "core/sync/semaphore.hpp"
#include "core/sync/single_flight.hpp"
#include "tests/unit/go_semantics/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using namespace go;
using sync::ErrorGroup;
using sync::Semaphore;
using sync::WaitGroup;
using Flights = sync::SingleFlight<std::string, int>;

TEST_CASE("go errgroup: without parts, and with parts that succeed: no error", "[go][errgroup]") {
  in_every_way([](Findings& found) {
    ErrorGroup none;
    found.check(none.wait().has_value(), "none");
    ErrorGroup group;
    std::atomic<int> ran{0};
    for (int i = 0; i < 10; ++i) group.go("part", [&] { ++ran; });
    found.check(group.wait() && ran == 10, "all ran");
  });
}

TEST_CASE("go errgroup: the first error is the group's, and wait waits for all", "[go][errgroup]") {
  in_every_way([](Findings& found) {
    ErrorGroup group;
    std::atomic<int> ended{0};
    group.go("fails", [&] { return ++ended, kReset; });
    found.check(soon([&] { return group.failures() == 1; }), "it failed");
    group.go("fails later", [&] { return ++ended, kRefused; });
    group.go("slow", [&] {
      let_others_run();
      ++ended;
    });
    found.check(error_of(group.wait()) == kReset && ended == 3, "the first, after all");
  });
}

TEST_CASE("go errgroup: the first error cancels the group's context, with it as the cause", "[go][errgroup]") {
  in_every_way([](Findings& found) {
    ErrorGroup group;
    group.go("waits", [&] { return context::sleep(group.context(), 1h); });
    group.go("fails", [&] { return kReset; });
    found.check(error_of(group.wait()) == kReset, "the error");
    found.check(group.context().cause() == kReset && group.context().err() == context::errc::canceled, "the context");
  });
}

TEST_CASE("go errgroup: after wait the context is done, without an error, too", "[go][errgroup]") {
  in_every_way([](Findings& found) {
    ErrorGroup group;
    group.go("part", [] {});
    found.check(!group.context().done() || group.running() == 0, "alive while it works");
    (void)group.wait();
    found.check(group.context().err() == context::errc::canceled, "done");
  });
}

TEST_CASE("go errgroup: no more at a time than the limit", "[go][errgroup]") {
  in_every_way([](Findings& found) {
    for (const int limit : {1, 3}) {
      ErrorGroup group;
      group.set_limit(limit);
      Gauge gauge;
      for (int i = 0; i < 20; ++i)
        group.go("part", [&] {
          gauge.enter();
          runtime::yield();
          gauge.leave();
        });
      (void)group.wait();
      found.check(gauge.most() <= limit, "the limit");
    }
  });
}

TEST_CASE("go errgroup: TryGo starts what there is room for, and says when there is none", "[go][errgroup]") {
  in_every_way([](Findings& found) {
    ErrorGroup group;
    group.set_limit(2);
    sync::Channel<int> gate;
    const auto part = [&] { (void)gate.receive(); };
    found.check(group.try_go("1", part) && group.try_go("2", part) && !group.try_go("3", part), "two");
    (void)gate.send(1);
    found.check(soon([&] { return group.running() == 1; }), "one ends");
    found.check(soon([&] { return group.try_go("4", part).has_value(); }), "room again");
    (void)gate.close();
    found.check(group.wait().has_value(), "no error");
    group.set_limit(-1);
    found.check(group.try_go("5", [] {}).has_value(), "no limit again");
    (void)group.wait();
    group.set_limit(0);
    found.check(!group.try_go("6", [] {}), "none at all");
  });
}

TEST_CASE("go errgroup: a panic comes out of wait", "[go][errgroup]") {
  in_every_way(
      [](Findings& found) {
        ErrorGroup group;
        group.go("throws", [] { throw std::runtime_error("on purpose"); });
        std::string what;
        try {
          (void)group.wait();
        } catch (const std::runtime_error& e) {
          what = e.what();
        }
        found.check(what == "on purpose", "the same one");
      },
      20);
}

TEST_CASE("go errgroup: a pipeline of producers and consumers ends at the first error", "[go][errgroup]") {
  in_every_way(
      [](Findings& found) {
        ErrorGroup group;
        sync::Channel<int> numbers;
        group.go("producer", [&] {
          for (int i = 0;; ++i)
            if (const std::error_code error = error_of(numbers.send(group.context(), i))) return error;
        });
        for (int c = 0; c < 3; ++c)
          group.go("consumer", [&]() -> std::error_code {
            for (;;) {
              const Result<int> n = numbers.receive(group.context());
              if (!n) return n.error();
              if (*n == 50) return kRefused;
            }
          });
        found.check(error_of(group.wait()) == kRefused, "the first");
      },
      50);
}

TEST_CASE("go semaphore: hammered, never more than there is", "[go][semaphore]") {
  in_every_way(
      [](Findings& found) {
        Semaphore semaphore(10);
        WaitGroup group;
        std::atomic<int> out{0};
        for (std::uint64_t n = 1; n <= 10; ++n)
          start(group, [&, n] {
            for (int i = 0; i < 20; ++i) {
              (void)semaphore.acquire(n);
              found.check(out.fetch_add(static_cast<int>(n)) + static_cast<int>(n) <= 10, "ten");
              runtime::yield();
              out.fetch_sub(static_cast<int>(n));
              (void)semaphore.release(n);
            }
          });
        group.wait();
        found.check(semaphore.available() == 10, "all back");
      },
      50);
}

TEST_CASE("go semaphore: TryAcquire, all or nothing", "[go][semaphore]") {
  in_every_way([](Findings& found) {
    Semaphore semaphore(2);
    found.check(semaphore.try_acquire(1), "one");
    found.check(!semaphore.try_acquire(2), "two are not free");
    found.check(semaphore.try_acquire(1) && !semaphore.try_acquire(1), "the other");
    (void)semaphore.release(2);
    found.check(semaphore.try_acquire(2), "both");
  });
}

TEST_CASE("go semaphore: one who wants much is not overtaken for ever by those who want little", "[go][semaphore]") {
  in_every_way(
      [](Findings& found) {
        Semaphore semaphore(4);
        WaitGroup group;
        std::atomic<bool> large{false};
        (void)semaphore.acquire(4);
        for (int i = 0; i < 4; ++i)
          start(group, [&] {
            (void)semaphore.acquire(1);
            while (!large) {
              (void)runtime::sleep_for(10us);
              (void)semaphore.release(1);
              (void)semaphore.acquire(1);
            }
            (void)semaphore.release(1);
          });
        (void)semaphore.release(4);
        (void)semaphore.acquire(4);
        large = true;
        (void)semaphore.release(4);
        group.wait();
        found.check(semaphore.available() == 4, "all back");
      },
      50);
}

TEST_CASE("go semaphore: who gives up lets those behind it go on", "[go][semaphore]") {
  in_every_way([](Findings& found) {
    Semaphore semaphore(10);
    (void)semaphore.acquire(1);
    const auto c = context::with_cancel(context::background());
    WaitGroup group;
    std::atomic<int> given_up{0};
    std::atomic<int> got{0};
    start(group, [&] { given_up += error_of(semaphore.acquire(c.context, 10)) == context::errc::canceled ? 1 : 0; });
    let_others_run();
    start(group, [&] { got += semaphore.acquire(5) ? 1 : 0; });
    let_others_run();
    c.cancel();
    group.wait();
    found.check(given_up == 1 && got == 1, "five are free");
  });
}

TEST_CASE("go semaphore: more than there is at all is refused, and harms nobody", "[go][semaphore]") {
  in_every_way([](Findings& found) {
    Semaphore semaphore(2);
    found.check(error_of(semaphore.acquire(3)) == sync::errc::too_many, "refused");
    found.check(!semaphore.try_acquire(3) && semaphore.try_acquire(2), "the two are there");
  });
}

TEST_CASE("go semaphore: a context that is done gets nothing, though units are free", "[go][semaphore]") {
  in_every_way([](Findings& found) {
    Semaphore semaphore(2);
    const auto c = context::with_cancel(context::background());
    c.cancel();
    found.check(error_of(semaphore.acquire(c.context)) == context::errc::canceled && semaphore.available() == 2,
                "nothing");
  });
}

TEST_CASE("go semaphore: cancel, then release, by one fiber: the waiter gets the error", "[go][semaphore]") {
  in_simulation(200, [](Findings& found) {
    Semaphore semaphore(1);
    (void)semaphore.acquire();
    const auto c = context::with_cancel(context::background());
    WaitGroup group;
    std::error_code error;
    start(group, [&] { error = error_of(semaphore.acquire(c.context)); });
    let_others_run();
    c.cancel();
    (void)semaphore.release();
    group.wait();
    found.check(error == context::errc::canceled && semaphore.available() == 1, "the error");
  });
}

TEST_CASE("go singleflight: a call, its value and its error", "[go][singleflight]") {
  in_every_way([](Findings& found) {
    Flights flights;
    const auto value = flights.call("key", [] { return 7; });
    found.check(value.result == 7 && !value.shared, "the value");
    const auto error = flights.call("key", []() -> Result<int> { return fail(std::errc::io_error); });
    found.check(!error.result && error.result.error() == std::errc::io_error, "the error, from a new call");
    found.check(flights.size() == 0, "nothing is kept");
    sync::SingleFlight<int, void> tasks;
    int ran = 0;
    found.check(tasks.call(1, [&] { ++ran; }).result.has_value() && ran == 1, "without a value");
  });
}

TEST_CASE("go singleflight: duplicates wait and share", "[go][singleflight]") {
  in_simulation(200, [](Findings& found) {
    Flights flights;
    WaitGroup group;
    std::atomic<int> calls{0};
    std::atomic<int> entered{0};
    std::atomic<int> right{0};
    sync::Channel<int> gate;
    for (int i = 0; i < 10; ++i)
      start(group, [&, i] {
        ++entered;
        const auto load = [&] {
          ++calls;
          return gate.receive().value_or(-1);
        };
        const auto page = i % 2 == 0 ? flights.call(std::string_view("key"), load)
                                     : flights.call(context::background(), std::string_view("key"), load);
        right += page.result == 5 && page.shared ? 1 : 0;
      });
    found.check(soon([&] { return entered == 10; }), "all come");
    (void)runtime::sleep_for(5ms);
    (void)gate.send(5);
    group.wait();
    found.check(calls == 1 && right == 10, "one call for ten");
  });
}

TEST_CASE("go singleflight: different keys do not wait for each other", "[go][singleflight]") {
  in_every_way([](Findings& found) {
    Flights flights;
    WaitGroup group;
    sync::Channel<int> meet;
    std::atomic<int> sum{0};
    start(group, [&] { sum += *flights.call("a", [&] { return meet.receive().value_or(-1); }).result; });
    start(group, [&] { sum += *flights.call("b", [&] { return (void)meet.send(3), 4; }).result; });
    group.wait();
    found.check(sum == 7, "they met");
  });
}

TEST_CASE("go singleflight: a panic reaches every caller", "[go][singleflight]") {
  in_simulation(200, [](Findings& found) {
    Flights flights;
    WaitGroup group;
    std::atomic<int> thrown{0};
    std::atomic<int> entered{0};
    sync::Channel<int> gate;
    for (int i = 0; i < 6; ++i)
      start(group, [&, i] {
        const auto load = [&]() -> int {
          (void)gate.receive();
          throw std::runtime_error("no page");
        };
        ++entered;
        try {
          (void)(i % 2 == 0 ? flights.call("key", load) : flights.call(context::background(), "key", load));
        } catch (const std::runtime_error& e) {
          thrown += std::string(e.what()) == "no page" ? 1 : 0;
        }
      });
    found.check(soon([&] { return entered == 6; }), "all come");
    (void)runtime::sleep_for(5ms);
    (void)gate.close();
    group.wait();
    found.check(thrown == 6, "each of them");
    found.check(flights.call("key", [] { return 1; }).result == 1, "and the key is free again");
  });
}

TEST_CASE("go singleflight: forget lets the next call begin anew; those who wait get the old one",
          "[go][singleflight]") {
  in_every_way([](Findings& found) {
    Flights flights;
    WaitGroup group;
    sync::Channel<int> gate;
    std::atomic<int> first{0};
    start(group, [&] { first = *flights.call("key", [&] { return gate.receive().value_or(-1); }).result; });
    found.check(soon([&] { return flights.size() == 1; }), "under way");
    flights.forget("key");
    const auto second = flights.call("key", [] { return 2; });
    found.check(second.result == 2 && !second.shared, "a flight of its own");
    (void)gate.send(1);
    group.wait();
    found.check(first == 1, "the old one");
  });
}

TEST_CASE("go singleflight: a caller whose context ends leaves, the call goes on for the others",
          "[go][singleflight][context]") {
  in_simulation(200, [](Findings& found) {
    Flights flights;
    WaitGroup group;
    sync::Channel<int> gate;
    std::atomic<int> calls{0};
    std::atomic<int> left{0};
    std::atomic<int> got{0};
    const auto c = context::with_cancel(context::background());
    const auto load = [&] {
      ++calls;
      return gate.receive().value_or(-1);
    };
    start(group, [&] {
      const auto page = flights.call(c.context, "key", load);
      left += !page.result && page.result.error() == context::errc::canceled ? 1 : 0;
    });
    found.check(soon([&] { return calls == 1; }), "the first begins it");
    start(group, [&] { got = flights.call(context::background(), "key", load).result.value_or(-1); });
    let_others_run();
    c.cancel();
    found.check(soon([&] { return left == 1; }), "the first leaves");
    (void)runtime::sleep_for(1ms);
    (void)gate.send(9);
    (void)gate.close();
    group.wait();
    found.check(got == 9 && calls == 1, "the second gets it");
    found.check(flights.call(c.context, "key", load).result.error() == context::errc::canceled && calls == 1,
                "a context that is done calls nothing");
  });
}

TEST_CASE("go rate: a burst, then one for each interval", "[go][rate]") {
  in_simulation(20, [](Findings& found) {
    flow::TokenBucket bucket(flow::every(100ms), 3);
    int n = 0;
    while (bucket.try_take()) ++n;
    found.check(n == 3, "the burst");
    (void)runtime::sleep_for(101ms);
    found.check(bucket.try_take() && !bucket.try_take(), "one each");
    (void)runtime::sleep_for(1h);
    n = 0;
    while (bucket.try_take()) ++n;
    found.check(n == 3, "never more than the burst");
  });
}

TEST_CASE("go rate: Inf admits all, burst 0 none, more than the burst never", "[go][rate]") {
  flow::TokenBucket unlimited(flow::kUnlimited, 0);
  CHECK(unlimited.try_take(1'000'000));
  flow::TokenBucket none(1000, 0);
  CHECK_FALSE(none.try_take());
  CHECK_FALSE(none.reserve().ok());
  flow::TokenBucket two(1000, 2);
  CHECK_FALSE(two.reserve(3).ok());
  CHECK(two.reserve(2).delay() == 0ns);
}

TEST_CASE("go rate: reservations queue up, and those that are cancelled make room", "[go][rate]") {
  flow::TokenBucket bucket(10, 2);
  const std::int64_t now = 1'000'000'000'000;
  CHECK(bucket.reserve_at(now, 2).delay() == 0ns);
  CHECK(bucket.reserve_at(now).delay() >= 99ms);
  flow::Reservation second = bucket.reserve_at(now, 2);
  CHECK(second.delay() >= 299ms);
  second.cancel(now);
  CHECK(bucket.reserve_at(now).delay() < 201ms);
  CHECK_FALSE(bucket.reserve_at(now, 1, 100ms).ok());
}

TEST_CASE("go rate: Wait waits its turn, refuses what comes too late, and gives back what it is called off",
          "[go][rate][context]") {
  in_simulation(50, [](Findings& found) {
    flow::TokenBucket bucket(flow::every(10ms), 1);
    const std::int64_t begin = monotonic_now();
    for (int i = 0; i < 5; ++i) found.check(bucket.wait().has_value(), "admitted");
    const std::int64_t took = monotonic_now() - begin;
    found.check(took >= 39'900'000 && took < 41'000'000, "four intervals");
    const auto brief = context::with_timeout(context::background(), 5ms);
    found.check(error_of(bucket.wait(brief.context)) == flow::errc::would_exceed_deadline, "at once, not in five");
    const auto c = context::with_cancel(context::background());
    WaitGroup group;
    std::error_code error;
    start(group, [&] { error = error_of(bucket.wait(c.context)); });
    (void)runtime::sleep_for(1ms);
    c.cancel();
    group.wait();
    found.check(error == context::errc::canceled && bucket.time_until() <= 10ms, "given back");
  });
}

TEST_CASE("go rate: SetLimit and SetBurst while it runs", "[go][rate]") {
  in_simulation(20, [](Findings& found) {
    flow::TokenBucket bucket(1, 10);
    (void)bucket.try_take(8);
    bucket.set_rate(100);
    found.check(bucket.available() == 2, "as many as before");
    (void)runtime::sleep_for(51ms);
    found.check(bucket.available() == 7, "five more, at the new rate");
    bucket.set_burst(3);
    found.check(bucket.available() == 3 && !bucket.try_take(4), "the new burst");
    found.check(bucket.rate() == 100 && bucket.burst() == 3, "what they are");
  });
}

TEST_CASE("go rate: Sometimes: the first, each n-th, each interval", "[go][rate]") {
  in_simulation(5, [](Findings& found) {
    flow::Sometimes sometimes({.first = 2, .every = 10, .interval = 1s});
    std::vector<int> done;
    for (int i = 0; i < 25; ++i) {
      if (i == 15) (void)runtime::sleep_for(2s);
      sometimes.run([&] { done.push_back(i); });
    }
    found.check(done == std::vector<int>{0, 1, 10, 15, 20}, "which");
  });
}
