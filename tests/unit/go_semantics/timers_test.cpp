#include <atomic>
#include <memory>
#include <vector>

#include "core/base/random.hpp"
#include "core/context/waits.hpp"
#include "core/sync/after_func.hpp"
#include "core/sync/select.hpp"
#include "core/sync/ticker.hpp"
#include "core/sync/timer.hpp"
#include "tests/unit/go_semantics/support.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using namespace go;
using sync::Ticker;
using sync::Timer;
using sync::WaitGroup;

namespace {

/// ms since `begin`, rounded down.
std::int64_t since(std::int64_t begin) { return (monotonic_now() - begin) / 1'000'000; }

}  // namespace

TEST_CASE("go time: a sleep lasts at least as long as asked, and zero is a yield", "[go][time]") {
  in_every_way(
      [](Findings& found) {
        const std::int64_t begin = monotonic_now();
        (void)runtime::sleep_for(2ms);
        found.check(since(begin) >= 2, "slept");
        (void)runtime::sleep_for(0ns);
        (void)runtime::sleep_for(-1h);
      },
      10);
}

TEST_CASE("go time: a timer fires at its time, once", "[go][time][timer]") {
  in_simulation(50, [](Findings& found) {
    const std::int64_t begin = monotonic_now();
    Timer timer(10ms);
    found.check(timer.running() && !timer.try_wait(), "not yet");
    timer.wait();
    found.check(since(begin) == 10 && !timer.running(), "at its time");
    const auto c = context::with_timeout(context::background(), 1h);
    found.check(error_of(timer.wait(c.context)) == context::errc::deadline_exceeded, "not again");
  });
}

TEST_CASE("go time: a timer of no time, or less, fires at once", "[go][time][timer]") {
  in_every_way([](Findings& found) {
    Timer(0ns).wait();
    Timer(-1h).wait();
    Timer past(Deadline::at(1));
    found.check(past.try_wait() && !past.try_wait(), "once");
    Timer never(std::chrono::nanoseconds::max());
    found.check(!never.try_wait(), "never");
  });
}

TEST_CASE("go time: stop before the time: true, and nothing comes", "[go][time][timer]") {
  in_simulation(50, [](Findings& found) {
    Timer timer(10ms);
    found.check(timer.stop() && !timer.stop(), "stopped once");
    found.check(sync::select(sync::on_tick(timer), sync::after(1s)) == 1, "nothing comes");
    found.check(!timer.reset(5ms), "was not running");
    timer.wait();
    found.check(!timer.stop(), "received: nothing to stop");
  });
}

TEST_CASE("go time: stop after the time, before anybody received: true, and nothing stale is left",
          "[go][time][timer]") {
  in_simulation(50, [](Findings& found) {
    Timer timer(1ms);
    (void)runtime::sleep_for(5ms);
    found.check(timer.stop(), "the tick was not received");
    found.check(!timer.try_wait(), "it is gone");
    found.check(sync::select(sync::on_tick(timer), sync::otherwise()) == 1, "for select, too");
  });
}

TEST_CASE("go time: reset after the time: the old tick is gone, the new one comes at its time", "[go][time][timer]") {
  in_simulation(50, [](Findings& found) {
    Timer timer(1ms);
    (void)runtime::sleep_for(5ms);
    const std::int64_t begin = monotonic_now();
    found.check(timer.reset(10ms), "the tick was not received");
    found.check(!timer.try_wait(), "no stale one");
    timer.wait();
    found.check(since(begin) == 10, "the new one");
  });
}

TEST_CASE("go time: reset while somebody waits moves the wait, both ways", "[go][time][timer]") {
  in_simulation(100, [](Findings& found) {
    for (const bool later : {true, false}) {
      Timer timer(later ? 10ms : 1h);
      const std::int64_t begin = monotonic_now();
      WaitGroup group;
      start(group, [&] {
        timer.wait();
        found.check(since(begin) == (later ? 55 : 25), "the new time");
      });
      (void)runtime::sleep_for(5ms);
      found.check(timer.reset(later ? 50ms : 20ms), "it ran");
      group.wait();
    }
  });
}

TEST_CASE("go time: stop while somebody waits leaves it waiting; a reset goes on", "[go][time][timer]") {
  in_simulation(100, [](Findings& found) {
    Timer timer(10ms);
    WaitGroup group;
    bool fired = false;
    start(group, [&] {
      timer.wait();
      fired = true;
    });
    (void)runtime::sleep_for(5ms);
    found.check(timer.stop(), "stopped");
    (void)runtime::sleep_for(1h);
    found.check(!fired, "it waits");
    timer.reset(1ms);
    group.wait();
  });
}

TEST_CASE("go time: of many who wait for one timer one goes on", "[go][time][timer]") {
  in_every_way([](Findings& found) {
    Timer timer(200us);
    WaitGroup group;
    std::atomic<int> fired{0};
    const auto c = context::with_cancel(context::background());
    for (int i = 0; i < 8; ++i) start(group, [&] { fired += timer.wait(c.context) ? 1 : 0; });
    found.check(soon([&] { return fired == 1; }), "one");
    (void)runtime::sleep_for(500us);
    c.cancel();
    group.wait();
    found.check(fired == 1, "and no other");
  });
}

TEST_CASE("go time: timers fire in the order of their times", "[go][time][timer]") {
  in_simulation(100, [](Findings& found) {
    WaitGroup group;
    std::vector<int> order;
    for (const int at : {7, 3, 9, 1, 5, 8, 2, 6, 4}) {
      start(group, [&, at] {
        Timer timer(std::chrono::milliseconds{at});
        timer.wait();
        order.push_back(at);
      });
    }
    group.wait();
    found.check(order == std::vector<int>{1, 2, 3, 4, 5, 6, 7, 8, 9}, "order");
  });
}

TEST_CASE("go time: a timer in a select, put off at each event", "[go][time][timer][select]") {
  in_simulation(50, [](Findings& found) {
    sync::Channel<int> events;
    WaitGroup group;
    start(group, [&] {
      for (int i = 0; i < 5; ++i) {
        (void)runtime::sleep_for(8ms);
        (void)events.send(i);
      }
    });
    const std::int64_t begin = monotonic_now();
    Timer idle(10ms);
    int n = 0;
    for (bool over = false; !over;) {
      sync::select(sync::on_receive(events,
                                    [&](const Result<int>&) {
                                      ++n;
                                      idle.reset(10ms);
                                    }),
                   sync::on_tick(idle, [&] { over = true; }));
    }
    found.check(n == 5 && since(begin) == 50, "ten after the last event");
    group.wait();
  });
}

TEST_CASE("go time: a busy fiber sees that a time has come, without a turn of the scheduler", "[go][time][timer]") {
  test::on_fibers(1, [](Findings& found) {
    Timer timer(1ms);
    Ticker ticker(1ms);
    const std::int64_t begin = monotonic_now();
    while (monotonic_now() - begin < 3'000'000) {
    }
    found.check(timer.try_wait(), "timer");
    found.check(sync::select(sync::on_tick(ticker), sync::otherwise()) == 0, "ticker, by select");
  });
}

TEST_CASE("go time: reset, stop and wait at the same time", "[go][time][timer]") {
  const auto body = [](Findings& found, bool exact) {
    Timer timer;
    WaitGroup group;
    WaitGroup waiters;
    std::atomic<int> fired{0};
    const auto c = context::with_cancel(context::background());
    for (int i = 0; i < 2; ++i)
      start(waiters, [&] {
        while (timer.wait(c.context)) ++fired;
      });
    for (std::uint64_t i = 0; i < 3; ++i)
      start(group, [&, i] {
        Random random(runtime::random() + i);
        for (int k = 0; k < 60; ++k) {
          random.below(4) == 0 ? timer.stop() : timer.reset(std::chrono::nanoseconds(random.below(30'000)));
          if (random.below(2) == 0) (void)runtime::sleep_for(std::chrono::nanoseconds(random.below(40'000)));
        }
      });
    group.wait();
    // Whatever they did to each other: the last one that sets it is obeyed.
    timer.stop();
    (void)runtime::sleep_for(100us);
    const int before = fired;
    (void)runtime::sleep_for(100us);
    if (exact) found.check(fired == before, "stopped");  // elsewhere one may be on its way still
    timer.reset(10us);
    found.check(soon([&] { return fired > before; }), "and set again");
    c.cancel();
    waiters.wait();
  };
  const auto on_threads = [&](Findings& found) { body(found, false); };
  test::on_fibers(1, on_threads);
  test::on_fibers(4, on_threads);
  in_simulation(2'000, [&](Findings& found) { body(found, true); });
}

TEST_CASE("go time: a ticker ticks at multiples of its period", "[go][time][ticker]") {
  in_simulation(50, [](Findings& found) {
    const std::int64_t begin = monotonic_now();
    Ticker ticker(10ms);
    for (std::int64_t i = 1; i <= 20; ++i) {
      ticker.wait();
      found.check(since(begin) == i * 10, "no drift");
      if (i % 3 == 0) (void)runtime::sleep_for(4ms);  // work that takes a part of the period
    }
  });
}

TEST_CASE("go time: a slow reader of a ticker finds one tick, and the next at its time", "[go][time][ticker]") {
  in_simulation(50, [](Findings& found) {
    const std::int64_t begin = monotonic_now();
    Ticker ticker(10ms);
    (void)runtime::sleep_for(57ms);
    ticker.wait();
    found.check(since(begin) == 57, "the one that stood there");
    found.check(!ticker.try_wait(), "the others are dropped");
    ticker.wait();
    found.check(since(begin) == 60, "the next at its time");
  });
}

TEST_CASE("go time: a ticker that is stopped ticks no more; a reset begins anew", "[go][time][ticker]") {
  in_simulation(50, [](Findings& found) {
    Ticker ticker(10ms);
    ticker.wait();
    (void)runtime::sleep_for(25ms);
    ticker.stop();
    found.check(!ticker.try_wait(), "what stood there is gone");
    found.check(sync::select(sync::on_tick(ticker), sync::after(1s)) == 1, "nothing comes");
    const std::int64_t begin = monotonic_now();
    ticker.reset(3ms);
    ticker.wait();
    ticker.wait();
    found.check(since(begin) == 6, "the new period");
    ticker.reset(5ms);
    ticker.wait();
    found.check(since(begin) == 11, "from the reset on");
  });
}

#ifdef NDEBUG  // a debug build stops there
TEST_CASE("go time: a period that is not positive is a mistake, and never ticks", "[go][time][ticker]") {
  in_simulation(1, [](Findings& found) {
    const std::uint64_t before = bug_count();
    Ticker none(0ns);
    Ticker negative(-1s);
    found.check(bug_count() == before + 2, "told");
    found.check(sync::select(sync::on_tick(none), sync::on_tick(negative), sync::after(1h)) == 2, "no tick");
  });
}
#endif

TEST_CASE("go time: a ticker loop that ends with its context", "[go][time][ticker][context]") {
  in_simulation(50, [](Findings& found) {
    const auto c = context::with_timeout(context::background(), 35ms);
    Ticker ticker(10ms);
    int n = 0;
    while (ticker.wait(c.context)) ++n;
    found.check(n == 3, "three in time");
    n = 0;
    const auto d = context::with_timeout(context::background(), 35ms);
    for (bool over = false; !over;)
      sync::select(sync::on_tick(ticker, [&] { ++n; }), sync::on_done(d.context, [&] { over = true; }));
    found.check(n == 4, "by select");
  });
}

TEST_CASE("go time: ticks go to one of those who wait, each once", "[go][time][ticker]") {
  in_simulation(100, [](Findings& found) {
    Ticker ticker(10ms);
    WaitGroup group;
    int n = 0;
    const auto c = context::with_timeout(context::background(), 105ms);
    for (int i = 0; i < 3; ++i)
      start(group, [&] {
        while (ticker.wait(c.context)) ++n;
      });
    group.wait();
    found.check(n == 10, "ten");
  });
}

TEST_CASE("go time: AfterFunc calls its function on a fiber of its own, at its time", "[go][time][after_func]") {
  in_simulation(50, [](Findings& found) {
    const std::int64_t begin = monotonic_now();
    sync::Channel<std::int64_t> at;
    (void)sync::after_func(10ms, [&] {
      (void)runtime::sleep_for(1ms);  // it may park
      (void)at.send(since(begin));
    });
    found.check(at.receive() == 11, "then");
  });
}

TEST_CASE("go time: AfterFunc, stopped before: true, and never called; after: false", "[go][time][after_func]") {
  in_simulation(50, [](Findings& found) {
    int calls = 0;
    const auto owned = std::make_shared<int>(1);
    {
      const auto timer = sync::after_func(10ms, [&calls, owned] { ++calls; });
      found.check(timer.stop() && !timer.stop(), "stopped once");
      (void)runtime::sleep_for(1s);
      found.check(calls == 0 && owned.use_count() == 2, "not called; kept for a reset");
    }
    found.check(owned.use_count() == 1, "destroyed with the last handle");
    const auto timer = sync::after_func(10ms, [&] { ++calls; });
    (void)runtime::sleep_for(20ms);
    found.check(calls == 1 && !timer.stop(), "too late");
    found.check(!sync::FunctionTimer().stop(), "an empty handle");
  });
}

TEST_CASE("go time: AfterFunc, reset: put off before, called again after", "[go][time][after_func]") {
  in_simulation(50, [](Findings& found) {
    int calls = 0;
    const auto timer = sync::after_func(10ms, [&] { ++calls; });
    (void)runtime::sleep_for(5ms);
    found.check(timer.reset(10ms), "it stood out");
    (void)runtime::sleep_for(8ms);
    found.check(calls == 0, "put off");
    (void)runtime::sleep_for(3ms);
    found.check(calls == 1, "called");
    found.check(!timer.reset(1ms), "none stood out");
    (void)runtime::sleep_for(2ms);
    found.check(calls == 2, "called again");
  });
}

TEST_CASE("go time: AfterFunc whose handle is dropped is called all the same, then gone", "[go][time][after_func]") {
  in_every_way([](Findings& found) {
    const auto owned = std::make_shared<std::atomic<int>>(0);
    (void)sync::after_func(100us, [owned] { ++*owned; });
    found.check(soon([&] { return *owned == 1; }), "called");
    found.check(soon([&] { return owned.use_count() == 1; }), "gone");
  });
}

TEST_CASE("go time: a function that sets itself again, until it is stopped", "[go][time][after_func]") {
  in_simulation(50, [](Findings& found) {
    int calls = 0;
    sync::FunctionTimer timer;
    timer = sync::after_func(10ms, [&] {
      ++calls;
      (void)timer.reset(10ms);
    });
    (void)runtime::sleep_for(55ms);
    found.check(calls == 5, "five times");
    found.check(timer.stop(), "stopped");
    (void)runtime::sleep_for(1s);
    found.check(calls == 5, "and no more");
  });
}

TEST_CASE("go time: AfterFunc set and stopped by many at once is called as often as they were told",
          "[go][time][after_func]") {
  in_every_way(
      [](Findings& found) {
        std::atomic<int> calls{0};
        std::atomic<int> set{0};
        std::atomic<int> taken_back{0};
        const auto timer = sync::after_func(1h, [&] { ++calls; });
        ++set;
        WaitGroup group;
        for (int i = 0; i < 4; ++i)
          start(group, [&, i] {
            for (int k = 0; k < 40; ++k) {
              if ((k + i) % 3 == 0) {
                taken_back += timer.stop() ? 1 : 0;
              } else {
                ++set;
                taken_back += timer.reset(std::chrono::microseconds(k % 7)) ? 1 : 0;
              }
              if (k % 4 == 0) (void)runtime::sleep_for(3us);
            }
          });
        group.wait();
        found.check(soon([&] { return calls == set - taken_back; }), "each call that was not taken back is made");
        (void)runtime::sleep_for(100us);
        found.check(calls == set - taken_back && !timer.stop(), "and no other");
      },
      1'000);
}

TEST_CASE("go time: a thousand timers, stopped and fired", "[go][time][timer]") {
  in_every_way(
      [](Findings& found) {
        std::vector<std::unique_ptr<Timer>> timers;
        for (int i = 0; i < 1000; ++i)
          timers.push_back(std::make_unique<Timer>(std::chrono::microseconds(100 + i % 10)));
        for (std::size_t i = 0; i < 1000; i += 2) timers[i]->stop();
        (void)runtime::sleep_for(1ms);
        int fired = 0;
        for (const auto& timer : timers) fired += timer->try_wait() ? 1 : 0;
        found.check(fired == 500, "those that were not stopped");
      },
      3);
}
