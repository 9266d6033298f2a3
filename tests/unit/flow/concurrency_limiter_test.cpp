#include "core/flow/concurrency_limiter.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/base/random.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/unit/flow/seeds.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using flow::ConcurrencyLimiter;
using flow::errc;
using flow::Permit;
using flow::Priority;
using runtime::Simulation;

static constexpr flow::CoDelOptions kNoCoDel{.target = 0ns, .interval = 100ms};

TEST_CASE("a fixed limit without a queue admits so many and refuses the rest", "[concurrency_limiter]") {
  ConcurrencyLimiter limiter({.limit = 2});
  Permit a = limiter.try_acquire();
  Permit b = limiter.try_acquire();
  CHECK(a);
  CHECK(b);
  CHECK_FALSE(limiter.try_acquire());
  CHECK(limiter.refusals().total() == 0);
  CHECK(error_of(limiter.check()) == errc::concurrency_limited);
  CHECK(limiter.refusals().of(errc::concurrency_limited) == 1);
  CHECK(limiter.in_flight() == 2);
  Permit c = std::move(a);
  CHECK(limiter.in_flight() == 2);
  b = std::move(c);  // gives back what b had
  CHECK(limiter.in_flight() == 1);
  CHECK(limiter.check());
  b.release();
  b.release();
  CHECK(limiter.in_flight() == 0);
  ConcurrencyLimiter closed({.limit = 0});
  CHECK_FALSE(closed.try_acquire());
}

TEST_CASE("what would be refused is known without refusing", "[concurrency_limiter]") {
  ConcurrencyLimiter limiter({.limit = 1, .queue = 2});
  std::vector<Permit> permits;
  std::vector<std::error_code> told(5);
  for (std::error_code& t : told) permits.push_back(limiter.admit_anyway(t));
  CHECK_FALSE(told[0]);
  CHECK_FALSE(told[1]);  // these two would wait
  CHECK_FALSE(told[2]);
  CHECK(told[3] == errc::queue_full);
  CHECK(told[4] == errc::queue_full);
  CHECK(limiter.in_flight() == 5);
  CHECK(limiter.refusals().of(errc::queue_full) == 2);
}

TEST_CASE("the queue: in order, bounded, timed", "[concurrency_limiter][simulation]") {
  std::vector<int> order;
  std::error_code full;
  std::error_code late;
  std::int64_t waited = 0;
  std::uint64_t refused_full = 0;
  std::uint64_t refused_late = 0;
  Simulation(5).run([&] {
    ConcurrencyLimiter limiter({.limit = 1, .queue = 3, .max_wait = 1s, .codel = kNoCoDel});
    Permit held = limiter.try_acquire();
    for (int i = 0; i < 3; ++i) {
      (void)runtime::spawn("w", [&, i] {
        if (auto p = limiter.acquire()) order.push_back(i);
      });
      while (limiter.queued() != static_cast<unsigned>(i) + 1) runtime::yield();
    }
    if (auto p = limiter.acquire(); !p) full = p.error();
    held.release();
    (void)runtime::sleep_for(1ms);
    held = limiter.try_acquire();
    const std::int64_t begin = monotonic_now();
    if (auto p = limiter.acquire(); !p) late = p.error();
    waited = monotonic_now() - begin;
    refused_full = limiter.refusals().of(errc::queue_full);
    refused_late = limiter.refusals().of(errc::queue_timeout);
    held.release();
  });
  CHECK(order == std::vector<int>{0, 1, 2});
  CHECK(full == errc::queue_full);
  CHECK(late == errc::queue_timeout);
  CHECK(late == std::errc::timed_out);
  CHECK(waited >= 1'000'000'000);
  CHECK(refused_full == 1);
  CHECK(refused_late == 1);
}

TEST_CASE("priorities: the important first, and into a full queue at the expense of others",
          "[concurrency_limiter][simulation]") {
  std::string order;
  std::vector<std::error_code> refused;
  std::error_code third_high;
  Simulation(5).run([&] {
    ConcurrencyLimiter limiter({.limit = 1, .queue = 3, .codel = kNoCoDel});
    Permit held = limiter.try_acquire();
    const auto enter = [&](char name, Priority priority) {
      (void)runtime::spawn("w", [&, name, priority] {
        auto p = limiter.acquire(priority);
        if (p)
          order += name;
        else
          refused.push_back(p.error());
      });
      for (int i = 0; i < 20; ++i) runtime::yield();
    };
    enter('l', Priority::low);
    enter('m', Priority::low);
    enter('n', Priority::normal);
    enter('h', Priority::high);    // m goes: the newest of the least important
    enter('o', Priority::normal);  // l goes
    enter('p', Priority::normal);  // nobody less important is left
    held.release();
    for (int i = 0; i < 50; ++i) runtime::yield();
  });
  CHECK(order == "hno");
  REQUIRE(refused.size() == 3);
  CHECK(refused[0] == errc::displaced);
  CHECK(refused[1] == errc::displaced);
  CHECK(refused[2] == errc::queue_full);
}

TEST_CASE("every race of grant, time-out, cancel and displacement has one outcome, under 10,000 seeds",
          "[concurrency_limiter][simulation][seeds]") {
  int wrong = 0;
  std::uint64_t granted = 0;
  std::uint64_t canceled = 0;
  std::uint64_t timed_out = 0;
  std::uint64_t displaced = 0;
  std::uint64_t full = 0;
  for (std::uint64_t seed = 0; seed < test::kSeeds; ++seed) {
    int ended = 0;
    unsigned most = 0;
    unsigned now_in = 0;
    std::uint64_t counted = 0;
    std::uint64_t expected = 0;
    Simulation(seed).run([&] {
      ConcurrencyLimiter limiter({.limit = 2, .queue = 4, .max_wait = 3us, .codel = kNoCoDel});
      for (unsigned i = 0; i < 9; ++i)
        (void)runtime::spawn("w", [&, i] {
          const auto c = context::with_cancel(context::background());
          if (i % 3 == 0)
            (void)runtime::spawn("canceler", [cancel = c.cancel] {
              (void)runtime::sleep_for(2us);
              cancel();
            });
          auto p = limiter.acquire(c.context, static_cast<Priority>(i % 3));
          ++ended;
          if (!p) {
            const std::error_code e = p.error();
            if (e == context::errc::canceled) {
              ++canceled;
            } else {
              ++expected;
              timed_out += e == errc::queue_timeout;
              displaced += e == errc::displaced;
              full += e == errc::queue_full;
            }
            return;
          }
          ++granted;
          most = std::max(most, ++now_in);
          (void)runtime::sleep_for(1us);
          --now_in;
        });
      while (ended != 9 || limiter.in_flight() != 0) (void)runtime::sleep_for(1us);
      counted = limiter.refusals().total();
      if (limiter.queued() != 0) ++wrong;
    });
    if (most > 2 || counted != expected || ended != 9) ++wrong;
  }
  CHECK(wrong == 0);
  CHECK(granted > 0);
  CHECK(canceled > 0);
  CHECK(timed_out > 0);
  CHECK(displaced > 0);
  CHECK(full > 0);
}

TEST_CASE("threads: never more than the limit, nobody lost", "[concurrency_limiter][threads]") {
  std::atomic<int> in{0};
  std::atomic<int> most{0};
  std::atomic<int> done{0};
  std::atomic<int> refused{0};
  std::uint64_t counted = 0;
  {
    auto rt = runtime::Runtime::start({.gomaxprocs = 4});
    REQUIRE(rt);
    ConcurrencyLimiter limiter({.limit = 3, .queue = 20, .max_wait = 10s, .codel = kNoCoDel});
    (*rt)->run([&] {
      std::atomic<int> ended{0};
      for (int i = 0; i < 50; ++i)
        (void)runtime::spawn("w", [&] {
          for (int k = 0; k < 200; ++k) {
            auto p = limiter.acquire();
            if (!p) {
              refused.fetch_add(1);
              continue;
            }
            const int n = in.fetch_add(1) + 1;
            int seen = most.load();
            while (n > seen && !most.compare_exchange_weak(seen, n)) {
            }
            runtime::yield();
            in.fetch_sub(1);
            done.fetch_add(1);
          }
          ended.fetch_add(1);
        });
      while (ended.load() != 50) (void)runtime::sleep_for(1ms);
    });
    counted = limiter.refusals().total();
  }
  CHECK(most <= 3);
  CHECK(done + refused == 50 * 200);
  CHECK(counted == static_cast<std::uint64_t>(refused.load()));
}

TEST_CASE("CoDel thins out a queue that stands, and leaves bursts alone", "[concurrency_limiter][simulation]") {
  const auto run = [](flow::CoDelOptions codel, std::chrono::nanoseconds between, int count) {
    struct Result {
      std::uint64_t dropped = 0;
      std::int64_t last_waits = 0;  // of the last quarter, mean
    } result;
    Simulation(2).run([&] {
      ConcurrencyLimiter limiter({.limit = 1, .queue = 10'000, .codel = codel});
      int ended = 0;
      std::int64_t sum = 0;
      int n = 0;
      for (int i = 0; i < count; ++i) {
        (void)runtime::spawn("w", [&, i] {
          const std::int64_t begin = monotonic_now();
          auto p = limiter.acquire();
          if (p) {
            if (i > count * 3 / 4) {
              sum += monotonic_now() - begin;
              ++n;
            }
            (void)runtime::sleep_for(1ms);
          }
          ++ended;
        });
        (void)runtime::sleep_for(between);
      }
      while (ended != count) (void)runtime::sleep_for(1ms);
      result.dropped = limiter.refusals().of(errc::queue_overloaded);
      result.last_waits = n != 0 ? sum / n : 0;
    });
    return result;
  };
  // 1 ms of work each 0.9 ms: the queue grows for ever, by a millisecond in ten.
  const auto without = run(kNoCoDel, 900us, 4000);
  const auto with = run({}, 900us, 4000);
  CHECK(without.dropped == 0);
  CHECK(with.dropped > 100);
  CHECK(with.last_waits < without.last_waits / 4);
  // Half of what it can do: there is a queue now and then, but none that stands.
  CHECK(run({}, 2ms, 2000).dropped == 0);
}

TEST_CASE("waiters that leave by their context take CoDel's dropping state with them",
          "[concurrency_limiter][simulation]") {
  Simulation(3).run([&] {
    ConcurrencyLimiter limiter({.limit = 1, .queue = 1'000, .codel = flow::CoDelOptions{}});
    // A queue that stands until CoDel drops.
    auto holder = limiter.acquire();
    auto impatient = context::with_cancel(context::background());
    int ended = 0;
    for (int i = 0; i < 200; ++i)
      (void)runtime::spawn("stands", [&] {
        auto p = limiter.acquire(impatient.context);
        if (p) (void)runtime::sleep_for(5ms);
        ++ended;
      });
    holder = fail(std::errc::operation_canceled);  // gives the place back
    while (limiter.refusals().of(errc::queue_overloaded) < 3) (void)runtime::sleep_for(5ms);
    impatient.cancel();
    while (ended != 200) (void)runtime::sleep_for(1ms);
    const auto before = limiter.refusals().of(errc::queue_overloaded);
    (void)runtime::sleep_for(2s);
    // A burst after a quiet time is a burst.
    int served = 0;
    ended = 0;
    for (int i = 0; i < 10; ++i)
      (void)runtime::spawn("burst", [&] {
        auto p = limiter.acquire();
        if (p) {
          ++served;
          (void)runtime::sleep_for(1ms);
        }
        ++ended;
      });
    while (ended != 10) (void)runtime::sleep_for(1ms);
    CHECK(limiter.refusals().of(errc::queue_overloaded) == before);
    CHECK(served == 10);
  });
}

TEST_CASE("cancelled and then granted by one fiber: the waiter gets the error, and its place goes on",
          "[concurrency_limiter][simulation]") {
  Simulation(4).run([&] {
    ConcurrencyLimiter limiter({.limit = 1, .queue = 2});
    auto holder = limiter.acquire();
    auto cancelable = context::with_cancel(context::background());
    std::error_code error;
    bool ended = false;
    (void)runtime::spawn("waiter", [&] {
      const auto permit = limiter.acquire(cancelable.context);
      if (!permit) error = permit.error();
      ended = true;
    });
    (void)runtime::sleep_for(1ms);
    cancelable.cancel();
    holder = fail(std::errc::operation_canceled);  // gives the place to the one who waits
    while (!ended) runtime::yield();
    CHECK(error == context::errc::canceled);
    CHECK(static_cast<bool>(limiter.try_acquire()));
  });
}
