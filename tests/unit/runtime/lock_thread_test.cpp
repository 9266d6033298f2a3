// LockThread: the fiber comes back to its thread, nobody else runs there, the others go on.
#include "core/runtime/lock_thread.hpp"

#include <time.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "core/base/bug.hpp"
#include "core/base/log.hpp"
#include "core/base/random.hpp"
#include "core/context/context.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/errc.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/simulation.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/seeds.hpp"
#include "tests/support/start_runtime.hpp"
#include "tests/support/yielding_atomic.hpp"
#include "tests/unit/runtime/within_a_minute.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

constexpr int kRounds = test::kSanitized ? 100 : 500;

/// Whose thread this is: 0, or the number of the locked fiber. Not inlined: a fiber may wake on another thread.
thread_local int owner = 0;
[[gnu::noinline]] int owner_here() { return *static_cast<volatile int*>(&owner); }
[[gnu::noinline]] void own_here(int who) { *static_cast<volatile int*>(&owner) = who; }
[[gnu::noinline]] pid_t thread_here() { return gettid(); }

void must(const Result<void>& r) {
  if (!r) throw std::system_error(r.error());
}

}  // namespace

TEST_CASE("a locked fiber comes back to its thread from every kind of wait", "[lock_thread]") {
  auto rt = test::start_runtime({.gomaxprocs = 2});
  int elsewhere = 0;
  int waits = 0;
  rt->run([&] {
    sync::Channel<int> ping;
    sync::Channel<int> pong;
    sync::Mutex mutex;
    std::atomic<bool> stop{false};
    sync::WaitGroup group;
    must(group.go("echo", [&] {
      for (const int i : ping) (void)pong.send(i);
    }));
    must(group.go("holds the mutex now and then", [&] {
      while (!stop) {
        const std::lock_guard guard(mutex);
        yield();
      }
    }));
    {
      const LockThread lock;
      const pid_t mine = thread_here();
      const auto look = [&] {
        ++waits;
        if (thread_here() != mine) ++elsewhere;
      };
      for (int i = 0; i < kRounds / 4; ++i) {
        (void)ping.send(i);
        look();
        (void)pong.receive();
        look();
        yield();
        look();
        {
          const std::lock_guard guard(mutex);
          look();
        }
        if (i % 16 != 0) continue;
        (void)sleep_for(50us);
        look();
        (void)blocking([] { return 1; });
        look();
        const auto brief = context::with_timeout(context::background(), 100us);
        (void)pong.receive(brief.context);
        look();
        blocking_section([] {});
        look();
        const Pin pin;
        yield();
        look();
      }
    }
    stop = true;
    ping.close();
    group.wait();
  });
  CHECK(waits > kRounds / 2);
  CHECK(elsewhere == 0);
}

TEST_CASE("no other fiber runs on a thread that is locked", "[lock_thread]") {
  auto rt = test::start_runtime({.gomaxprocs = 2});
  std::atomic<int> intruders{0};
  std::atomic<int> turns{0};
  std::atomic<int> lost{0};
  rt->run([&] {
    static constexpr int kLocked = 4;
    std::atomic<int> left{kLocked};
    sync::WaitGroup group;
    sync::Channel<int> values;
    for (int who = 1; who <= kLocked; ++who)
      must(group.go("locked", [&, who] {
        {
          const LockThread lock;
          own_here(who);
          for (int i = 0; i < kRounds / 4; ++i) {
            if (i % 2 == 0)
              (void)values.send(i);
            else
              yield();
            if (owner_here() != who) ++lost;
          }
          own_here(0);
        }
        --left;
      }));
    must(group.go("takes", [&] {
      for (int i = 0; i < kLocked * ((kRounds / 4 + 1) / 2); ++i) {
        (void)values.receive();
        if (owner_here() != 0) ++intruders;
      }
    }));
    for (int f = 0; f < 6; ++f)
      must(group.go("ordinary", [&] {
        while (left != 0) {
          if (owner_here() != 0) ++intruders;
          ++turns;
          yield();
        }
      }));
    group.wait();
  });
  CHECK(intruders == 0);
  CHECK(lost == 0);
  CHECK(turns > 0);
  CHECK(rt->read_mem_stats().threads_locked == 0);
}

TEST_CASE("a locked fiber that blocks its thread holds up nobody, however many there are", "[lock_thread]") {
  static constexpr int kLocked = 20;
  auto rt = test::start_runtime({.gomaxprocs = 1, .handoff_max = 0});
  std::atomic<bool> open{false};
  std::atomic<int> inside{0};
  for (int i = 0; i < kLocked; ++i)
    REQUIRE(rt->spawn("blocks", [&] {
      const LockThread lock;
      ++inside;
      open.wait(false);
    }));
  CHECK(test::within_a_minute([&] { return inside == kLocked; }));
  MemStats stats = rt->read_mem_stats();
  CHECK(stats.threads_locked == kLocked);
  CHECK(stats.fibers_running >= kLocked);
  CHECK(stats.machines >= kLocked + 1);
  // All of them block, and this goes on.
  std::atomic<int> ran{0};
  rt->run([&] {
    sync::WaitGroup group;
    for (int i = 0; i < 100; ++i) must(group.go("other", [&] { ++ran; }));
    group.wait();
    (void)sleep_for(1ms);
  });
  CHECK(ran == 100);
  open = true;
  open.notify_all();
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().threads_locked == 0; }));
  // The threads are others' then, and those too many end.
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().machines <= 2; }));
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().machines_spare <= 6; }));
}

TEST_CASE("guards nest, and the outermost counts", "[lock_thread]") {
  auto rt = test::start_runtime({.gomaxprocs = 1});
  std::vector<std::uint64_t> locked;
  const auto count = [&locked] { locked.push_back(read_mem_stats().threads_locked); };
  bool same = true;
  rt->run([&] {
    std::optional<LockThread> outer(std::in_place);
    const pid_t mine = thread_here();
    count();
    {
      const LockThread inner;
      yield();
      count();
    }
    yield();
    same = thread_here() == mine;
    count();
    outer.reset();
    count();
    // And again.
    const LockThread lock;
    count();
  });
  CHECK(same);
  CHECK(locked == std::vector<std::uint64_t>{1, 1, 1, 0, 1});
}

TEST_CASE("at the bound of threads a lock is refused, and fibers go on", "[lock_thread]") {
  // Held to be 2 × 1 + 3: three may be locked, and one thread is for the Processor's, one to replace that.
  auto rt = test::start_runtime({.gomaxprocs = 1, .handoff_max = 3, .machines_max = 1});
  std::atomic<bool> open{false};
  std::atomic<int> locked{0};
  std::atomic<int> refused{0};
  std::atomic<int> wrong{0};
  for (int i = 0; i < 10; ++i)
    REQUIRE(rt->spawn("wants a thread", [&] {
      try {
        const LockThread lock;
        ++locked;
        open.wait(false);
      } catch (const std::system_error& e) {
        ++refused;
        if (e.code() != errc::out_of_threads || e.code() != std::errc::resource_unavailable_try_again) ++wrong;
      }
    }));
  CHECK(test::within_a_minute([&] { return locked + refused == 10; }));
  CHECK(locked == 3);
  CHECK(wrong == 0);
  CHECK(rt->read_mem_stats().locks_refused == static_cast<std::uint64_t>(refused.load()));
  // Sections still have what they need.
  rt->run([] { blocking_section([] { std::this_thread::sleep_for(5ms); }); });
  open = true;
  open.notify_all();
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().threads_locked == 0; }));
  rt->run([&] {
    const LockThread lock;
    ++locked;
  });
  CHECK(locked == 4);
}

TEST_CASE("a pinned fiber gets no thread; a Pin inside of a lock counts", "[lock_thread]") {
  auto rt = test::start_runtime({.gomaxprocs = 2});
  std::error_code pinned;
  std::error_code spawned_on;
  unsigned afterwards = 0;
  rt->run([&] {
    const auto try_it = [](std::error_code& error) {
      try {
        const LockThread lock;
      } catch (const std::system_error& e) {
        error = e.code();
      }
    };
    {
      const Pin pin;
      try_it(pinned);
    }
    sync::WaitGroup group;
    group.add();
    must(spawn_on(1, "pinned", [&] {
      try_it(spawned_on);
      group.done();
    }));
    group.wait();
    // It outlives the lock: pinned as if nothing had been.
    std::optional<LockThread> lock(std::in_place);
    const Pin pin;
    yield();
    lock.reset();
    for (int i = 0; i < 100; ++i) {
      yield();
      afterwards += Machine::current_machine()->has_stand_in() ? 1 : 0;
    }
  });
  CHECK(pinned == std::errc::operation_not_permitted);
  CHECK(spawned_on == std::errc::operation_not_permitted);
  CHECK(afterwards == 0);
}

TEST_CASE("locks end the section that they begin in, and follow GOMAXPROCS", "[lock_thread]") {
  auto rt = test::start_runtime({.gomaxprocs = 4});
  std::atomic<bool> stop{false};
  std::atomic<int> elsewhere{0};
  std::atomic<int> rounds{0};
  for (int f = 0; f < 4; ++f)
    REQUIRE(rt->spawn("locks now and then", [&] {
      while (!stop) {
        const BlockingSection section;
        const LockThread lock;
        const pid_t mine = thread_here();
        for (int i = 0; i < 3; ++i) {
          (void)sleep_for(20us);
          if (thread_here() != mine) ++elsewhere;
        }
        ++rounds;
      }
    }));
  Random random(7);
  for (int i = 0; i < (test::kSanitized ? 20 : 100); ++i) {
    rt->set_gomaxprocs(1 + random.below(4));
    std::this_thread::sleep_for(500us);
  }
  CHECK(test::within_a_minute([&] { return rounds > 100; }));
  stop = true;
  rt.reset();
  CHECK(elsewhere == 0);
}

TEST_CASE("what passes for now on a locked thread is not of long ago", "[lock_thread]") {
  auto rt = test::start_runtime({.gomaxprocs = 1});
  bool late = true;
  bool past_already = false;
  // A call of a library that takes longer than what passes for now may be late: the clock goes on, nobody waits.
  static std::atomic<std::int64_t> ahead{0};
  set_clock_source([]() noexcept {
    timespec now{};
    clock_gettime(CLOCK_MONOTONIC, &now);
    return std::int64_t{now.tv_sec} * 1'000'000'000 + now.tv_nsec + ahead.load();
  });
  rt->run([&] {
    const LockThread lock;
    const Deadline soon = Deadline::in(1500ms);
    const std::int64_t before = coarse_now();
    ahead = 1'600'000'000;
    late = coarse_now() - before < 1'600'000'000;
    past_already = past(soon);
  });
  rt.reset();
  set_clock_source(nullptr);
  CHECK_FALSE(late);
  CHECK(past_already);
}

#if defined(NDEBUG)
TEST_CASE("a fiber that ends without giving its thread back is a BUG and loses it", "[lock_thread]") {
  set_log_sink([](LogLevel, std::string_view) noexcept {});
  const std::uint64_t before = bug_count();
  auto rt = test::start_runtime({.gomaxprocs = 1});
  static LockThread* leaked = nullptr;
  rt->run([] { leaked = new LockThread; });
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().threads_locked == 0; }));
  CHECK(bug_count() == before + 1);
  rt->run([] {});  // goes on
  // Off a fiber.
  CHECK_THROWS_AS(LockThread(), std::system_error);
  CHECK(bug_count() == before + 2);
  rt.reset();
  ::operator delete(leaked);
  set_log_sink(nullptr);
}
#endif

TEST_CASE("many locked fibers come and go while others pass values through them", "[lock_thread]") {
  auto rt = test::start_runtime({.gomaxprocs = 2});
  std::atomic<std::uint64_t> sum{0};
  std::atomic<int> elsewhere{0};
  const int chains = test::kSanitized ? 20 : 150;
  rt->run([&] {
    sync::WaitGroup group;
    for (int c = 0; c < chains; ++c)
      must(group.go("chain", [&] {
        sync::Channel<int> in;
        sync::Channel<int> out(1);
        sync::WaitGroup stages;
        for (int stage = 0; stage < 2; ++stage)
          must(stages.go("stage", [&] {
            for (const int value : in) {
              const LockThread lock;
              const pid_t mine = thread_here();
              (void)out.send(value);
              if (thread_here() != mine) ++elsewhere;
            }
          }));
        must(stages.go("feeds", [&] {
          for (int i = 1; i <= 10; ++i) (void)in.send(i);
          in.close();
        }));
        for (int i = 0; i < 10; ++i) sum += static_cast<std::uint64_t>(*out.receive());
        stages.wait();
      }));
    group.wait();
  });
  CHECK(sum == static_cast<std::uint64_t>(55 * chains));
  CHECK(elsewhere == 0);
  CHECK(rt->read_mem_stats().threads_locked == 0);
}

TEST_CASE("a locked fiber that waits for ever is in the report", "[lock_thread]") {
  auto rt = test::start_runtime({.gomaxprocs = 1});
  std::string told;
  rt->run([&] {
    sync::Channel<int> never;
    sync::WaitGroup group;
    must(group.go("owner", [&] {
      const LockThread lock;
      (void)never.receive();
    }));
    Scheduler& s = *Scheduler::instance();
    for (int i = 0; i < 100'000 && told.empty(); ++i) {
      yield();
      s.for_each_parked_fiber([&](const Fiber& f) {
        if (f.origin.get().name == "owner" && f.machine != nullptr) told = s.describe_parked(f);
      });
    }
    never.close();
    group.wait();
  });
  CHECK(told.find("\"owner\" waits for channel_receive") != std::string::npos);
  CHECK(told.find(", with a thread of its own") != std::string::npos);
}

TEST_CASE("in a simulation a lock changes nothing", "[lock_thread]") {
  for (std::uint64_t seed = 0; seed < 50; ++seed) {
    int ran = 0;
    const auto outcome = Simulation(seed).run([&] {
      sync::WaitGroup group;
      for (int i = 0; i < 3; ++i)
        must(group.go("locked", [&] {
          const LockThread lock;
          yield();
          const LockThread nested;
          (void)sleep_for(1us);
          ++ran;
        }));
      group.wait();
    });
    CHECK(ran == 3);
    CHECK_FALSE(outcome.deadlock);
  }
}

namespace {
/// The machine's sleep for a fiber of a simulation.
struct SimulatedSleep {
  static void wait_while(test::YieldingAtomic<std::uint32_t>& word, std::uint32_t value) noexcept {
    while (word.load() == value) yield();
  }
  static void notify(test::YieldingAtomic<std::uint32_t>&) noexcept { yield(); }
  static void pause(test::YieldingAtomic<std::uint32_t>&, std::uint32_t) noexcept { yield(); }
};
}  // namespace

TEST_CASE("seat: every call arrives, and none after the end, under 10,000 seeds", "[lock_thread][seeds]") {
  test::for_each_simulation(10'000, [](std::uint64_t seed) {
    test::yielding_random = Random(seed + 1);
    using TestSeat = BasicSeat<test::YieldingAtomic, SimulatedSleep>;
    struct Guarded {
      TestSeat seat;
    };
    auto seat = std::make_unique<Guarded>();
    int parked = 0;  // waits so far; whoever sees a new one calls, once
    int called = 0;
    int inside = 0;
    bool touched = false;
    sync::WaitGroup group;
    for (int w = 0; w < 3; ++w)
      must(group.go("waker", [&] {
        while (called < 20) {
          if (called == parked) {
            yield();
            continue;
          }
          ++called;  // won
          ++inside;
          Guarded* const g = seat.get();
          touched = touched || g == nullptr;
          if (g != nullptr) g->seat.call();
          --inside;
        }
      }));
    for (int i = 0; i < 20; ++i) {
      ++parked;
      seat->seat.wait();
      test::invariant(called == parked, "it went on without a call");
    }
    seat->seat.vacate();
    test::invariant(inside == 0 || called == 20, "a caller that nobody counts");
    seat.reset();
    group.wait();
    test::invariant(!touched, "called after the end");
  });
}
