#include "core/context/after_func.hpp"

#include <atomic>
#include <catch2/catch.hpp>
#include <memory>
#include <thread>

#include "core/context/value.hpp"
#include "core/context/waits.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/simulation.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace std::chrono_literals;
using context::Context;
using runtime::Simulation;

TEST_CASE("after_func runs once, on a fiber of its own, when the context is done", "[context][after]") {
  int runs = 0;
  bool on_fiber = false;
  bool stopped_late = true;
  int before = -1;
  (void)Simulation(1).run([&] {
    const auto c = context::with_cancel(context::background());
    const context::StopFunction stop = context::after_func(c.context, [&] {
      ++runs;
      on_fiber = runtime::on_fiber();
      (void)runtime::sleep_for(1ms);
    });
    (void)runtime::sleep_for(1ms);
    before = runs;
    c.cancel();
    c.cancel();
    stopped_late = stop();
  });
  CHECK(before == 0);
  CHECK(runs == 1);
  CHECK(on_fiber);
  CHECK_FALSE(stopped_late);
}

TEST_CASE("after_func of a done context runs at once; of a deadline when it passes, though nobody waits",
          "[context][after]") {
  int at_once = 0;
  bool stopped = true;
  std::int64_t late = 0;
  std::int64_t inherited = 0;
  (void)Simulation(2).run([&] {
    const auto done = context::with_deadline(context::background(), Deadline::at(1));
    const auto stop = context::after_func(done.context, [&] { ++at_once; });
    (void)runtime::sleep_for(1ms);
    stopped = stop();
    const std::int64_t begin = monotonic_now();
    const auto timed = context::with_timeout(context::background(), 50ms);
    const auto child = context::with_timeout(timed.context, 1h);
    (void)context::after_func(timed.context, [&] { late = monotonic_now() - begin; });
    (void)context::after_func(child.context, [&] { inherited = monotonic_now() - begin; });
    (void)runtime::sleep_for(1s);
  });
  CHECK(at_once == 1);
  CHECK_FALSE(stopped);
  CHECK(late >= 50'000'000);
  CHECK(late < 60'000'000);
  CHECK(inherited >= 50'000'000);
  CHECK(inherited < 60'000'000);
}

TEST_CASE("stopping an after_func destroys it uncalled, once", "[context][after]") {
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  int runs = 0;
  bool first = false;
  bool second = true;
  bool copy_stops = true;
  bool gone = false;
  (void)Simulation(3).run([&] {
    const auto c = context::with_cancel(context::background());
    const auto stop = context::after_func(c.context, [&runs, o = std::move(owned)] { runs += *o; });
    const context::StopFunction copy = stop;  // NOLINT: that a copy is the same registration is what is tested
    first = stop();
    gone = watch.expired();
    second = stop();
    copy_stops = copy();
    c.cancel();
  });
  CHECK(first);
  CHECK_FALSE(second);
  CHECK_FALSE(copy_stops);
  CHECK(gone);
  CHECK(runs == 0);
  CHECK_FALSE(context::StopFunction()());
}

TEST_CASE("an after_func of what is never done is dropped with its context", "[context][after]") {
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  {
    const auto c = context::with_cancel(context::background());
    (void)context::after_func(c.context, [o = owned] {});
    (void)context::after_func(context::with_cancel(c.context).context, [o = std::move(owned)] {});
    CHECK_FALSE(watch.expired());
  }
  CHECK(watch.expired());
  auto other = std::make_shared<int>(1);
  const std::weak_ptr<int> second = other;
  const auto root = context::after_func(context::background(), [o = std::move(other)] {});
  CHECK_FALSE(second.expired());
  CHECK(root());
  CHECK(second.expired());
  CHECK_FALSE(root());
}

TEST_CASE("what a context with a value or none above it calls", "[context][after]") {
  static const context::Key<int> key("n");
  int runs = 0;
  (void)Simulation(4).run([&] {
    const auto c = context::with_cancel(context::background());
    (void)context::after_func(context::with_value(c.context, key, 3), [&] { ++runs; });
    (void)context::after_func(context::without_cancel(c.context), [&] { runs += 100; });
    c.cancel();
  });
  CHECK(runs == 1);
}

static std::atomic<int> refusals{0};

TEST_CASE("an after_func for which there is no fiber is tried again, not lost", "[context][after]") {
  std::atomic<int> runs{0};
  refusals = 3;
  auto rt = test::start_runtime(1);
  rt->set_admission_hook([](std::string_view name) noexcept -> Result<void> {
    if (name == "after_func" && refusals.fetch_sub(1) > 0) return fail(std::errc::not_enough_memory);
    return {};
  });
  rt->run([&] {
    const auto c = context::with_cancel(context::background());
    (void)context::after_func(c.context, [&] { ++runs; });
    c.cancel();
    for (int i = 0; i < 5'000 && runs == 0; ++i) (void)runtime::sleep_for(1ms);
  });
  CHECK(runs == 1);
  CHECK(refusals == -1);
}

TEST_CASE("without a runtime an after_func is destroyed, and nothing else happens", "[context][after]") {
  auto owned = std::make_shared<int>(1);
  const std::weak_ptr<int> watch = owned;
  const auto c = context::with_cancel(context::background());
  (void)context::after_func(c.context, [o = std::move(owned)] { std::abort(); });
  c.cancel();
  CHECK(watch.expired());
}

TEST_CASE("stop and cancel race under 10,000 seeds: it runs, or it was stopped", "[context][after][seeds]") {
  constexpr std::uint64_t kSeeds = test::kSanitized ? 1'000 : 10'000;
  int wrong = 0;
  int ran = 0;
  for (std::uint64_t seed = 0; seed < kSeeds; ++seed) {
    int runs = 0;
    int stopped = 0;
    const auto outcome = Simulation(seed).run([&] {
      const auto c = context::with_timeout(context::background(), 2us);
      const auto stop = context::after_func(c.context, [&] { ++runs; });
      (void)runtime::spawn("stop", [&stopped, stop] {
        (void)runtime::sleep_for(500ns);
        stopped += stop() ? 1 : 0;
        stopped += stop() ? 1 : 0;
      });
      (void)runtime::spawn("cancel", [cancel = c.cancel] {
        (void)runtime::sleep_for(500ns);
        cancel();
      });
    });
    if (outcome.deadlock || runs + stopped != 1) {
      ++wrong;
      WARN("seed " << seed << " replays the failure");
    }
    ran += runs;
  }
  CHECK(wrong == 0);
  CHECK(ran > static_cast<int>(kSeeds / 10));
  CHECK(ran < static_cast<int>(kSeeds / 10 * 9));
}

TEST_CASE("stop, cancel and the last handle race on two Processors", "[context][after]") {
  constexpr int kDrivers = 16;
  constexpr int kRounds = test::kThreadSanitizer ? 500 : 5'000;
  std::atomic<int> runs{0};
  std::atomic<int> stopped{0};
  test::start_runtime(2)->run([&] {
    for (int d = 0; d < kDrivers; ++d)
      (void)runtime::spawn("driver", [&] {
        for (int i = 0; i < kRounds; ++i) {
          auto c = context::with_cancel(context::background());
          auto stop = context::after_func(c.context, [&] { ++runs; });
          std::atomic<int> left{2};
          (void)runtime::spawn_on(1, "stop", [&left, &stopped, s = std::move(stop)]() mutable {
            if (s()) ++stopped;
            s = {};
            --left;
          });
          (void)runtime::spawn_on(0, "cancel", [&left, f = std::move(c)]() mutable {
            f.cancel();
            f = {};
            --left;
          });
          while (left != 0) runtime::yield();
        }
      });
  });
  CHECK(runs + stopped == kDrivers * kRounds);
  CHECK(runs > 10);
  CHECK(stopped > 10);
}
