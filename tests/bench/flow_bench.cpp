// What admission costs: a token, a key's token, a refused spawn, a place, a job through a pool.
#include <benchmark/benchmark.h>

#include <memory>
#include <string>
#include <system_error>

#include "core/base/clock.hpp"
#include "core/base/random.hpp"
#include "core/flow/admission_bucket.hpp"
#include "core/flow/concurrency_limiter.hpp"
#include "core/flow/keyed_token_buckets.hpp"
#include "core/flow/token_bucket.hpp"
#include "core/flow/worker_pool.hpp"
#include "core/runtime/runtime.hpp"

using namespace fiberd;

namespace {

std::unique_ptr<runtime::Runtime> start(unsigned processors) {
  auto rt = runtime::Runtime::start({.gomaxprocs = processors});
  if (!rt) throw std::system_error(rt.error());
  return std::move(*rt);
}

/// With its own look at the clock.
void bucket_try_take(benchmark::State& state) {
  flow::TokenBucket bucket(1e9, 1'000'000'000);
  for (auto _ : state) benchmark::DoNotOptimize(bucket.try_take());
}
BENCHMARK(bucket_try_take);

void bucket_refuses(benchmark::State& state) {
  flow::TokenBucket empty(1e-3, 1);
  (void)empty.try_take();
  for (auto _ : state) benchmark::DoNotOptimize(empty.try_take());
}
BENCHMARK(bucket_refuses);

/// For who has read the clock already.
void bucket_try_take_at(benchmark::State& state) {
  flow::TokenBucket bucket(1e9, 1'000'000'000);
  std::int64_t now = monotonic_now();
  for (auto _ : state) benchmark::DoNotOptimize(bucket.try_take_at(now += 10));
}
BENCHMARK(bucket_try_take_at);

/// 10,000 keys in random order: hash of an address-sized key, look-up, token.
void keyed_lookup(benchmark::State& state) {
  flow::KeyedTokenBuckets buckets(1e6, 1'000'000, static_cast<std::size_t>(state.range(0)));
  Random random(1);
  const auto keys = static_cast<std::uint32_t>(state.range(0));
  std::int64_t now = monotonic_now();
  for (auto _ : state) {
    const std::uint64_t address = random.below(keys);
    const std::uint64_t key = buckets.key_of({reinterpret_cast<const char*>(&address), sizeof address});
    benchmark::DoNotOptimize(buckets.try_take_at(now += 10, key));
  }
}
BENCHMARK(keyed_lookup)->Arg(100)->Arg(10'000);

/// Each key is new: a bucket is evicted each time.
void keyed_eviction(benchmark::State& state) {
  flow::KeyedTokenBuckets buckets(1e6, 1'000'000, 10'000);
  Random random(1);
  std::int64_t now = monotonic_now();
  for (auto _ : state) benchmark::DoNotOptimize(buckets.try_take_at(now += 10, random.next()));
}
BENCHMARK(keyed_eviction);

/// spawn() that the hook refuses: from the call to the error.
void refused_spawn(benchmark::State& state) {
  flow::AdmissionBucket bucket("job", 1e-3, 0);
  auto rt = start(1);
  rt->set_admission(&bucket);
  rt->run([&] {
    for (auto _ : state) {
      const Result<void> spawned = runtime::spawn("job", [] {});
      benchmark::DoNotOptimize(spawned.error());
    }
  });
}
BENCHMARK(refused_spawn);

void limiter_place(benchmark::State& state) {
  flow::ConcurrencyLimiter limiter({.limit = 10});
  for (auto _ : state) {
    flow::Permit permit = limiter.try_acquire();
    benchmark::DoNotOptimize(permit);
  }
}
BENCHMARK(limiter_place);

void limiter_refuses(benchmark::State& state) {
  flow::ConcurrencyLimiter limiter({.limit = 0});
  auto rt = start(1);
  rt->run([&] {
    for (auto _ : state) benchmark::DoNotOptimize(limiter.acquire().error());
  });
}
BENCHMARK(limiter_refuses);

/// A job to an idle worker, and its result back: two switches.
void pool_run(benchmark::State& state) {
  auto rt = start(1);
  rt->run([&] {
    flow::WorkerPool pool({.least = 1, .most = 1});
    int n = 0;
    for (auto _ : state) benchmark::DoNotOptimize(pool.run([&n] { return ++n; }));
    (void)pool.shutdown();
  });
}
BENCHMARK(pool_run);

}  // namespace
