// 1,000,000 increments by 16 fibers on 16 Processors: under a mutex, on one atomic, on a sharded counter (core/metric).
// Its twin: go_experiments/counters.go.
//
//   experiment_counters mutex|atomic|sharded threads|fibers
//
// threads: each fiber is pinned to a Processor, hence to a thread, of its own; fibers: they run wherever they are put.
#include <array>
#include <atomic>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <string_view>
#include <system_error>

#include "core/base/cache_line.hpp"
#include "core/metric/registry.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/wait_group.hpp"
#include "measure.hpp"

using namespace fiberd;

namespace {

constexpr unsigned kThreads = 16;
constexpr std::int64_t kIncrements = 1'000'000;

/// Starts the fibers, opens the gate, and returns how long it took until the last was done, ns.
template <class Body>
std::int64_t race(bool pinned, const Body& body) {
  sync::WaitGroup ready;
  sync::WaitGroup done;
  sync::Channel<int> gate;
  ready.add(kThreads);
  done.add(kThreads);
  for (unsigned t = 0; t < kThreads; ++t) {
    const auto one = [&] {
      ready.done();
      (void)gate.receive();
      body(kIncrements / kThreads);
      done.done();
    };
    if (const Result<void> r = pinned ? runtime::spawn_on(t, "counter", one) : runtime::spawn("counter", one); !r)
      throw std::system_error(r.error());
  }
  ready.wait();
  const std::int64_t begin = toolkit::wall_ns();
  gate.close();
  done.wait();
  return toolkit::wall_ns() - begin;
}

struct Round {
  std::int64_t took = 0;
  std::int64_t count = 0;
};

Round run(std::string_view variant, bool pinned, metric::Counter& sharded) {
  Round round;
  if (variant == "mutex") {
    sync::Mutex mutex;
    round.took = race(pinned, [&](std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) {
        const std::lock_guard<sync::Mutex> lock(mutex);
        ++round.count;
      }
    });
  } else if (variant == "atomic") {
    alignas(2 * kCacheLine) std::atomic<std::int64_t> counter{0};  // as Go's, it shares its line with nothing in use
    round.took = race(pinned, [&](std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) counter.fetch_add(1);
    });
    round.count = counter.load();
  } else if (variant == "sharded") {
    const std::uint64_t before = sharded.value();
    round.took = race(pinned, [&](std::int64_t n) {
      for (std::int64_t i = 0; i < n; ++i) sharded.add();
    });
    round.count = static_cast<std::int64_t>(sharded.value() - before);
  }
  return round;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::string_view variant = argv[1];
  const bool pinned = std::string_view(argv[2]) == "threads";
  metric::Registry registry;
  metric::Counter& sharded = registry.counter(registry.family({.name = "increments_total", .help = "The benchmark's"}));
  auto runtime = runtime::Runtime::start({.gomaxprocs = kThreads});
  if (!runtime) throw std::system_error(runtime.error());
  Round round;
  (*runtime)->run([&] {
    (void)run(variant, pinned, sharded);  // warms up
    round = run(variant, pinned, sharded);
  });
  std::printf("{\"variant\": \"%s\", \"pinned\": %s, \"ms\": %.4f, \"count\": %lld}\n", argv[1],
              pinned ? "true" : "false", static_cast<double>(round.took) * 1e-6, static_cast<long long>(round.count));
  return round.count == kIncrements ? 0 : 1;
}
