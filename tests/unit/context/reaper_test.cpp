// What dies with the last handle to a context is the user's: it is destroyed where it may wait.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>

#include "core/base/clock.hpp"
#include "core/base/lock.hpp"
#include "core/context/after_func.hpp"
#include "core/context/value.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "core/runtime/timer.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::Context;

namespace {

std::atomic<int> died_waiting{0};
std::atomic<int> died_elsewhere{0};

/// Its destructor waits, as one does that closes a connection.
struct Waits {
  Waits() = default;
  Waits(Waits&& o) noexcept : armed(std::exchange(o.armed, false)) {}
  Waits& operator=(Waits&&) = delete;
  ~Waits() {
    if (!armed) return;
    if (!runtime::on_fiber()) {
      ++died_elsewhere;  // to wait here would end the process
      return;
    }
    (void)runtime::sleep_for(1ms);
    ++died_waiting;
  }
  bool armed = true;
};
const context::Key<Waits> kWaits("waits");

/// A timer whose callback drops the last handle.
struct Drops : runtime::Timer {
  explicit Drops(Context c) noexcept : runtime::Timer(&Drops::fire), last(std::move(c)) {}
  static void fire(runtime::Timer& timer) noexcept {
    auto& self = static_cast<Drops&>(timer);
    self.last = Context();
    self.fired = true;
  }
  Context last;
  std::atomic<bool> fired{false};
};

template <class F>
bool eventually(F reached) {
  const std::int64_t end = monotonic_now() + 60'000'000'000;
  while (!reached() && monotonic_now() < end) std::this_thread::sleep_for(1ms);
  return reached();
}

void drop_in_a_timer(runtime::Runtime& rt, Context last, bool compute) {
  Drops drops(std::move(last));
  rt.run([&] {
    drops.arm(Deadline::in(1ms));
    const std::int64_t end = monotonic_now() + 60'000'000'000;
    // With every Processor busy it is sysmon that fires it.
    while (!drops.fired && monotonic_now() < end)
      if (!compute) (void)runtime::sleep_for(100us);
    drops.cancel();
  });
}

}  // namespace

TEST_CASE("a value whose last handle goes in a timer's callback is destroyed on a fiber", "[context][reaper]") {
  for (const bool compute : {false, true}) {
    died_waiting = died_elsewhere = 0;
    auto rt = std::move(*runtime::Runtime::start({.gomaxprocs = 1}));
    drop_in_a_timer(*rt, context::with_value(context::background(), kWaits, Waits()), compute);
    CHECK(eventually([] { return died_waiting + died_elsewhere == 1; }));
    CHECK(died_elsewhere == 0);
  }
}

TEST_CASE("so is a function that after_func never called, and what hangs above", "[context][reaper]") {
  died_waiting = died_elsewhere = 0;
  auto rt = std::move(*runtime::Runtime::start({.gomaxprocs = 1}));
  {
    Context valued = context::with_value(context::background(), kWaits, Waits());
    context::Cancelable child = context::with_cancel(valued);
    auto owned = std::make_shared<Waits>();
    (void)context::after_func(child.context, [owned] {});
    owned.reset();
    child.cancel = {};
    valued = Context();
    drop_in_a_timer(*rt, std::move(child.context), false);
  }
  CHECK(eventually([] { return died_waiting + died_elsewhere == 2; }));
  CHECK(died_elsewhere == 0);
}

TEST_CASE("one that goes under a Lock waits until the lock is free", "[context][reaper]") {
  died_waiting = died_elsewhere = 0;
  auto rt = std::move(*runtime::Runtime::start({.gomaxprocs = 1}));
  rt->run([] {
    Lock lock;
    Context last = context::with_value(context::background(), kWaits, Waits());
    const LockGuard guard(lock);
    last = Context();
    if (died_waiting != 0) died_elsewhere = 99;
  });
  CHECK(eventually([] { return died_waiting + died_elsewhere == 1; }));
  CHECK(died_elsewhere == 0);
}

TEST_CASE("in a simulation, too", "[context][reaper]") {
  for (const std::uint64_t seed : {1U, 2U, 3U}) {
    died_waiting = died_elsewhere = 0;
    const auto outcome = runtime::Simulation(seed).run([] {
      Drops drops(context::with_value(context::background(), kWaits, Waits()));
      drops.arm(Deadline::in(1ms));
      (void)runtime::sleep_for(10ms);
      drops.cancel();
    });
    CHECK_FALSE(outcome.deadlock);
    CHECK(died_waiting == 1);
    CHECK(died_elsewhere == 0);
  }
}
