// What a switch, a fiber and a timer cost, warm. Median over repetitions: --benchmark_repetitions=15
// --benchmark_report_aggregates_only=true.
#include <benchmark/benchmark.h>

#include <atomic>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/timer.hpp"

using namespace fiberd;
using namespace fiberd::runtime;

static std::unique_ptr<Runtime> start(unsigned processors) {
  auto rt = Runtime::start({.gomaxprocs = processors});
  if (!rt) throw std::system_error(rt.error());
  return std::move(*rt);
}

/// Two fibers that yield to each other through the run queue: an iteration is two switches.
static void switch_through_scheduler(benchmark::State& state) {
  bool stop = false;  // outlives the partner, which ends after run()'s fiber
  auto rt = start(1);
  rt->run([&] {
    (void)spawn("partner", [&stop] {
      while (!stop) yield();
    });
    yield();
    for (auto _ : state) yield();
    stop = true;
  });
  state.SetItemsProcessed(state.iterations() * 2);
  state.counters["ns_per_switch"] = benchmark::Counter(static_cast<double>(state.iterations()) * 2 * 1e-9,
                                                       benchmark::Counter::kIsRate | benchmark::Counter::kInvert);
}
BENCHMARK(switch_through_scheduler);

/// One event of the flight recorder, into a ring that goes round.
static void record_event(benchmark::State& state) {
  auto rt = start(1);
  rt->run([&] {
    TraceWriter& writer = Machine::current_machine()->processor->trace;
    for (auto _ : state) writer.record(trace_word(TraceKind::steal, 1, 2));
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(record_event);

/// Two fibers that wake each other and park: an iteration is two parks, two wakes, two switches.
static void park_and_wake(benchmark::State& state) {
  Ticket tickets[2];
  bool stop = false;
  auto rt = start(1);
  rt->run([&] {
    (void)spawn("partner", [&] {
      while (!stop) {
        tickets[1] = prepare_park(WaitReason::test);
        if (tickets[0]) wake(tickets[0]);
        (void)park_until(tickets[1]);
      }
    });
    yield();
    for (auto _ : state) {
      tickets[0] = prepare_park(WaitReason::test);
      wake(tickets[1]);
      (void)park_until(tickets[0]);
    }
    stop = true;
    wake(tickets[1]);
  });
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(park_and_wake);

/// Spawns fibers that end at once, in batches as a burst of arrivals would; an iteration is one fiber's whole life.
static void spawn_and_finish(benchmark::State& state) {
  constexpr int kBatch = 100;
  auto rt = start(1);
  rt->run([&] {
    std::uint64_t ran = 0;
    int in_batch = 0;
    for (auto _ : state) {
      benchmark::DoNotOptimize(spawn("empty", [&ran] { ++ran; }));
      if (++in_batch == kBatch) {
        in_batch = 0;
        yield();
      }
    }
    yield();
    benchmark::DoNotOptimize(ran);
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(spawn_and_finish);

/// A wait with a deadline that does not fire, as every read of a connection has one.
static void deadline_that_does_not_fire(benchmark::State& state) {
  auto rt = start(1);
  rt->run([&] {
    for (auto _ : state) {
      const Ticket t = prepare_park(WaitReason::test);
      (void)spawn("waker", [t] { wake(t); });
      (void)park_until(t, Deadline::at(coarse_now() + 60'000'000'000));
    }
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(deadline_that_does_not_fire);

/// A blocking section that is over before anybody looks: what a short call pays for its bracket.
static void blocking_section_short(benchmark::State& state) {
  auto rt = start(1);
  rt->run([&] {
    for (auto _ : state) blocking_section([] { benchmark::ClobberMemory(); });
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(blocking_section_short);

static void timer_arm_and_disarm(benchmark::State& state) {
  auto rt = start(1);
  rt->run([&] {
    Timer timer([](Timer&) noexcept {});
    for (auto _ : state) {
      timer.arm(Deadline::at(coarse_now() + 60'000'000'000));
      timer.disarm();
    }
    timer.cancel();
  });
}
BENCHMARK(timer_arm_and_disarm);
