#include "core/flow/worker_pool.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "core/base/log.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/unit/flow/seeds.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::background;
using flow::errc;
using flow::WorkerPool;
using runtime::Simulation;
using Queued = WorkerPool::Queued;

TEST_CASE("jobs run on as many workers as allowed, and all of them run", "[worker_pool][simulation]") {
  int wrong = 0;
  for (std::uint64_t seed = 0; seed < test::kSeeds / 30; ++seed) {
    int ran = 0;
    unsigned now_in = 0;
    unsigned most = 0;
    const auto outcome = Simulation(seed).run([&] {
      WorkerPool pool({.most = 3, .queue = 4});
      for (int i = 0; i < 40; ++i)
        if (!pool.submit(background(), [&] {
              most = std::max(most, ++now_in);
              (void)runtime::sleep_for(1us);
              --now_in;
              ++ran;
            }))
          ++wrong;
      (void)pool.shutdown();
      if (pool.workers() != 0 || pool.queued() != 0 || pool.completed() != 40) ++wrong;
    });
    if (ran != 40 || most != 3 || outcome.deadlock) ++wrong;
  }
  CHECK(wrong == 0);
}

TEST_CASE("run brings results, errors and exceptions", "[worker_pool][simulation]") {
  Result<int> number = 0;
  Result<std::unique_ptr<int>> moved;
  Result<void> nothing;
  Result<void> error;
  Result<int> failed = 0;
  std::string thrown;
  std::uint64_t panics = 0;
  Simulation(1).run([&] {
    WorkerPool pool({.most = 2});
    int local = 20;
    number = pool.run([&] { return ++local * 2; });
    moved = pool.run([] { return std::make_unique<int>(7); });
    nothing = pool.run([] {});
    error = pool.run([] { return std::make_error_code(std::errc::io_error); });
    failed = pool.run([]() -> Result<int> { return fail(std::errc::timed_out); });
    try {
      (void)pool.run([]() -> int { throw std::runtime_error("on purpose"); });
    } catch (const std::runtime_error& e) {
      thrown = e.what();
    }
    (void)pool.shutdown();
    panics = pool.panics();
  });
  CHECK(number.value() == 42);
  CHECK(*moved.value() == 7);
  CHECK(nothing.has_value());
  CHECK(error.error() == std::errc::io_error);
  CHECK(failed.error() == std::errc::timed_out);
  CHECK(thrown == "on purpose");
  CHECK(panics == 0);
}

TEST_CASE("a job that throws is logged and counted, and its worker goes on", "[worker_pool][simulation]") {
  static std::string logged;
  logged.clear();
  set_log_sink([](LogLevel, std::string_view line) noexcept { logged = line; });
  int ran = 0;
  std::uint64_t panics = 0;
  std::uint32_t workers = 0;
  Simulation(1).run([&] {
    WorkerPool pool({.name = "thrower", .most = 1});
    (void)pool.submit(background(), [] { throw std::runtime_error("on purpose"); });
    (void)pool.submit(background(), [&] { ++ran; });
    (void)pool.submit(background(), [&](std::error_code e) {
      if (!e) throw 5;
    });
    (void)pool.run([&] { ++ran; });
    workers = pool.workers();
    (void)pool.shutdown();
    panics = pool.panics();
  });
  set_log_sink(nullptr);
  CHECK(ran == 2);
  CHECK(panics == 2);
  CHECK(workers == 1);
  CHECK(logged.find("thrower") != std::string::npos);
}

TEST_CASE("a full queue: try_submit refuses, submit waits its turn", "[worker_pool][simulation]") {
  std::vector<int> order;
  std::error_code full;
  std::error_code full_run;
  std::uint64_t counted = 0;
  std::uint32_t outside = 0;
  Simulation(4).run([&] {
    WorkerPool pool({.most = 1, .queue = 2});
    for (int i = 0; i < 3; ++i)
      (void)pool.try_submit([&, i] {
        (void)runtime::sleep_for(1ms);
        order.push_back(i);
      });
    full = error_of(pool.try_submit([&] { order.push_back(99); }));
    full_run = pool.try_run(background(), [&] { order.push_back(99); }).error();
    for (int i = 3; i < 6; ++i) {
      (void)runtime::spawn("submitter", [&, i] { (void)pool.submit(background(), [&, i] { order.push_back(i); }); });
      while (pool.waiting_for_room() != static_cast<unsigned>(i) - 2) runtime::yield();
    }
    outside = pool.waiting_for_room();
    counted = pool.refusals().of(errc::queue_full);
    while (order.size() != 6) (void)runtime::sleep_for(1ms);
    (void)pool.shutdown();
  });
  CHECK(full == errc::queue_full);
  CHECK(full_run == errc::queue_full);
  CHECK(counted == 2);
  CHECK(outside == 3);
  CHECK(order == std::vector<int>{0, 1, 2, 3, 4, 5});
}

TEST_CASE("without a queue a job goes from hand to hand", "[worker_pool][simulation]") {
  int ran = 0;
  std::error_code full;
  const auto outcome = Simulation(4).run([&] {
    WorkerPool pool({.most = 2, .queue = 0});
    for (int i = 0; i < 10; ++i)
      (void)pool.submit(background(), [&] {
        (void)runtime::sleep_for(1us);
        ++ran;
      });
    full = error_of(pool.try_submit([] {}));
    (void)pool.shutdown();
  });
  CHECK(ran == 10);
  CHECK(full == errc::queue_full);
  CHECK_FALSE(outcome.deadlock);
}

TEST_CASE("who waits too long is told and not run", "[worker_pool][simulation]") {
  std::error_code told_queued;
  std::error_code told_run;
  std::error_code told_room;
  bool ran = false;
  std::int64_t run_waited = 0;
  std::int64_t room_waited = 0;
  std::uint64_t counted = 0;
  Simulation(1).run([&] {
    WorkerPool pool({.most = 1, .queue = 2, .max_wait = 10ms});
    (void)pool.try_submit([] { (void)runtime::sleep_for(1s); });
    (void)pool.try_submit([&](std::error_code e) {
      told_queued = e;
      ran = ran || !e;
    });
    (void)runtime::spawn("runner", [&] {
      const std::int64_t begin = monotonic_now();
      told_run = pool.run([&] { ran = true; }).error();
      run_waited = monotonic_now() - begin;
    });
    while (pool.queued() != 2) runtime::yield();
    const std::int64_t begin = monotonic_now();
    told_room = error_of(pool.submit(background(), [&] { ran = true; }));
    room_waited = monotonic_now() - begin;
    (void)runtime::sleep_for(2s);
    counted = pool.refusals().of(errc::queue_timeout);
    (void)pool.shutdown();
  });
  CHECK_FALSE(ran);
  CHECK(told_queued == errc::queue_timeout);
  CHECK(told_run == errc::queue_timeout);
  // The runner's place came free when its time was up: who waited for room could go in, and waits on for a worker.
  CHECK((!told_room || told_room == errc::queue_timeout));
  CHECK(run_waited >= 10'000'000);
  CHECK(run_waited < 20'000'000);  // not a second
  CHECK(room_waited < 20'000'000);
  CHECK(counted == 3);
}

TEST_CASE("a context ends the wait; what runs is waited for", "[worker_pool][simulation]") {
  std::error_code queued;
  std::error_code room;
  std::error_code dead;
  Result<int> running = 0;
  bool ran = false;
  std::uint64_t gave_up = 0;
  Simulation(2).run([&] {
    WorkerPool pool({.most = 1, .queue = 1});
    const auto c = context::with_cancel(background());
    (void)runtime::spawn("long", [&] {
      running = pool.run(c.context, [&] {
        (void)runtime::sleep_for(1s);
        return 5;
      });
    });
    while (pool.busy() != 1) runtime::yield();
    (void)runtime::spawn("queued", [&] { queued = pool.run(c.context, [&] { ran = true; }).error(); });
    while (pool.queued() != 1) runtime::yield();
    (void)runtime::spawn("room", [&] { room = error_of(pool.submit(c.context, [&] { ran = true; })); });
    while (pool.waiting_for_room() != 1) runtime::yield();
    c.cancel();
    (void)runtime::sleep_for(2s);
    dead = error_of(pool.submit(c.context, [&] { ran = true; }));
    gave_up = pool.gave_up();
    (void)pool.shutdown();
  });
  CHECK(queued == context::errc::canceled);
  CHECK(room == context::errc::canceled);
  CHECK(dead == context::errc::canceled);
  CHECK(running.value() == 5);
  CHECK_FALSE(ran);
  CHECK(gave_up == 2);
}

TEST_CASE("an elastic pool grows to its most and shrinks to its least; a fixed one stays",
          "[worker_pool][simulation]") {
  std::vector<std::uint32_t> elastic;
  std::uint32_t fixed = 0;
  Simulation(1).run([&] {
    WorkerPool pool({.least = 1, .most = 5, .idle = 1s});
    elastic.push_back(pool.workers());
    for (int i = 0; i < 8; ++i) (void)pool.submit(background(), [] { (void)runtime::sleep_for(10ms); });
    elastic.push_back(pool.workers());
    (void)runtime::sleep_for(500ms);
    elastic.push_back(pool.workers());
    (void)runtime::sleep_for(10s);
    elastic.push_back(pool.workers());
    WorkerPool steady({.least = 3, .most = 3, .idle = 1s});
    for (int i = 0; i < 8; ++i) (void)steady.submit(background(), [] { (void)runtime::sleep_for(10ms); });
    (void)runtime::sleep_for(60s);
    fixed = steady.workers();
    (void)steady.shutdown();
    (void)pool.shutdown();
  });
  CHECK(elastic == std::vector<std::uint32_t>{0, 5, 5, 1});
  CHECK(fixed == 3);
}

TEST_CASE("shutdown with work queued: drain runs it, drop tells everybody", "[worker_pool][simulation]") {
  for (const Queued mode : {Queued::drain, Queued::drop}) {
    int ran = 0;
    int told = 0;
    std::error_code room;
    std::error_code run;
    std::error_code after;
    std::error_code again;
    std::uint64_t counted = 0;
    const auto outcome = Simulation(3).run([&] {
      WorkerPool pool({.most = 1, .queue = 5});
      for (int i = 0; i < 5; ++i)
        (void)pool.submit(background(), [&](std::error_code e) {
          if (e == errc::pool_closed) ++told;
          if (!e) {
            ++ran;
            (void)runtime::sleep_for(1ms);
          }
        });
      (void)runtime::spawn("run", [&] {
        if (auto r = pool.run([&] { ++ran; }); !r) run = r.error();
      });
      while (pool.queued() != 5) runtime::yield();
      (void)runtime::spawn("room", [&] { room = error_of(pool.submit(background(), [&] { ++ran; })); });
      while (pool.waiting_for_room() != 1) runtime::yield();
      (void)pool.shutdown(mode);
      after = error_of(pool.try_submit([&] { ran = 1000; }));
      again = error_of(pool.shutdown(Queued::drop));
      counted = pool.refusals().of(errc::pool_closed);
      if (pool.workers() != 0) ran = 2000;
      runtime::yield();
    });
    CHECK_FALSE(outcome.deadlock);
    CHECK(room == errc::pool_closed);
    CHECK(after == errc::pool_closed);
    CHECK_FALSE(again);
    if (mode == Queued::drain) {
      CHECK(ran == 6);
      CHECK(told == 0);
      CHECK(counted == 2);
    } else {
      CHECK(ran == 1);
      CHECK(told == 4);
      CHECK(run == errc::pool_closed);
      CHECK(counted == 7);
    }
  }
}

TEST_CASE("shutdown's wait obeys its context, and drop after drain drops the rest", "[worker_pool][simulation]") {
  std::error_code first;
  std::error_code second;
  int told = 0;
  Simulation(3).run([&] {
    WorkerPool pool({.most = 1, .queue = 5});
    (void)pool.submit(background(), [] { (void)runtime::sleep_for(1s); });
    for (int i = 0; i < 3; ++i)
      (void)pool.submit(background(), [&](std::error_code e) { told += e == errc::pool_closed ? 1 : 0; });
    const auto c = context::with_timeout(background(), 10ms);
    first = error_of(pool.shutdown(c.context, Queued::drain));
    second = error_of(pool.shutdown(Queued::drop));
    c.cancel();
  });
  CHECK(first == context::errc::deadline_exceeded);
  CHECK_FALSE(second);
  CHECK(told == 3);
}

TEST_CASE("when no fiber can be had everybody is told", "[worker_pool]") {
  // Spawns of workers are refused as often as the counter says.
  struct Refuse final : runtime::Admission {
    std::atomic<int> left{0};
    Result<void> admit(std::string_view name) noexcept override {
      if (name != "w" || left.load() == 0) return {};
      left.fetch_sub(1);
      return fail(errc::rate_limited);
    }
  } refuse;
  std::error_code alone;
  std::error_code with_others;
  int ran = 0;
  std::uint64_t counted = 0;
  auto rt = runtime::Runtime::start({.gomaxprocs = 1});
  REQUIRE(rt);
  (*rt)->set_admission(&refuse);
  (*rt)->run([&] {
    WorkerPool pool({.name = "w", .most = 2, .queue = 5});
    refuse.left = 1;
    alone = error_of(pool.try_submit([&] { ++ran; }));
    (void)pool.submit(background(), [&] {
      ++ran;
      (void)runtime::sleep_for(5ms);
    });
    while (pool.busy() != 1 || ran != 1) runtime::yield();
    refuse.left = 1;
    with_others = error_of(pool.try_submit([&] { ++ran; }));  // the one that runs comes to it
    counted = pool.refusals().of(errc::no_worker);
    (void)pool.shutdown();
  });
  rt->reset();
  CHECK(alone == errc::no_worker);
  CHECK_FALSE(with_others);
  CHECK(ran == 2);
  CHECK(counted == 1);
}

TEST_CASE("every race of submitting, running, cancelling and closing ends each job once, under 10,000 seeds",
          "[worker_pool][simulation][seeds]") {
  int wrong = 0;
  std::uint64_t reasons[3]{};
  for (std::uint64_t seed = 0; seed < test::kSeeds; ++seed) {
    int ran = 0;
    int told = 0;
    int errors = 0;
    int canceled = 0;
    int ended = 0;
    const auto outcome = Simulation(seed).run([&] {
      WorkerPool pool(
          {.least = static_cast<std::uint32_t>(seed % 2), .most = 2, .queue = 2, .max_wait = 4us, .idle = 2us});
      for (int i = 0; i < 10; ++i)
        (void)runtime::spawn("s", [&, i] {
          const auto c = context::with_cancel(background());
          if (i % 4 == 0)
            (void)runtime::spawn("canceler", [cancel = c.cancel] {
              (void)runtime::sleep_for(1us);
              cancel();
            });
          std::error_code error;
          if (i % 2 == 0) {
            if (auto r = pool.run(c.context,
                                  [&] {
                                    ++ran;
                                    (void)runtime::sleep_for(1us);
                                  });
                !r)
              error = r.error();
          } else {
            error = error_of(pool.submit(c.context, [&](std::error_code e) { ++(e ? told : ran); }));
          }
          if (error) {
            ++errors;
            reasons[0] += error == errc::queue_timeout;
            reasons[1] += error == errc::pool_closed;
            canceled += error == context::errc::canceled;
          }
          ++ended;
        });
      (void)runtime::sleep_for(std::chrono::microseconds(seed % 12));
      (void)pool.shutdown(seed % 3 == 0 ? Queued::drop : Queued::drain);
      while (ended != 10) (void)runtime::sleep_for(1us);
      if (pool.queued() != 0 || pool.workers() != 0 || pool.busy() != 0) ++wrong;
      if (pool.refusals().total() != static_cast<std::uint64_t>(told + errors - canceled)) ++wrong;
    });
    if (ran + told + errors != 10 || outcome.deadlock) ++wrong;
    reasons[2] += static_cast<std::uint64_t>(canceled);
  }
  CHECK(wrong == 0);
  CHECK(reasons[0] > 0);
  CHECK(reasons[1] > 0);
  CHECK(reasons[2] > 0);
}

TEST_CASE("threads: every job is run once", "[worker_pool][threads]") {
  std::atomic<int> ran{0};
  std::atomic<int> results{0};
  std::atomic<int> full{0};
  std::uint64_t counted = 0;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 4});
    REQUIRE(rt);
    WorkerPool pool({.least = 1, .most = 6, .queue = 16, .idle = 1ms});
    (*rt)->run([&] {
      std::atomic<int> ended{0};
      for (int f = 0; f < 20; ++f)
        (void)runtime::spawn("s", [&, f] {
          for (int i = 0; i < 200; ++i) {
            if (f % 3 == 0) {
              if (!pool.submit(background(), [&] { ran.fetch_add(1); })) full.fetch_add(1000);
            } else if (f % 3 == 1) {
              if (!pool.try_submit([&] { ran.fetch_add(1); })) full.fetch_add(1);
            } else if (auto r = pool.run([i] { return i; }); r && *r == i) {
              results.fetch_add(1);
            }
          }
          ended.fetch_add(1);
        });
      while (ended.load() != 20) (void)runtime::sleep_for(1ms);
      (void)pool.shutdown();
    });
    counted = pool.refusals().of(errc::queue_full);
  }
  CHECK(ran + full == 14 * 200);
  CHECK(results == 6 * 200);
  CHECK(counted == static_cast<std::uint64_t>(full.load()));
}

TEST_CASE("waits are observed, one for each job that was run", "[worker_pool][simulation]") {
  metric::Registry registry;
  metric::Histogram& waits =
      registry.histogram(registry.family({.name = "waits", .help = "w", .type = metric::Type::histogram}));
  Simulation(1).run([&] {
    WorkerPool pool({.most = 1, .queue = 5, .waits = &waits});
    for (int i = 0; i < 3; ++i) (void)pool.submit(background(), [] { (void)runtime::sleep_for(1s); });
    (void)pool.shutdown();
  });
  const auto snapshot = registry.snapshot();
  double sum = 0;
  std::uint64_t count = 0;
  for (const auto& family : snapshot)
    if (family.spec.name == "waits") {
      sum = family.samples.at(0).sum;
      count = family.samples.at(0).count;
    }
  CHECK(count == 3);
  CHECK(sum > 2.9);
  CHECK(sum < 3.1);
}
