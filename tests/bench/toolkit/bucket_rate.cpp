// What a TokenBucket admits, and what a look-up among keyed ones costs.
//
//   bucket_rate SECONDS
//
// For SECONDS, at the same time: 16 threads that take from one bucket all they can get, and 16 fibers that wait for
// tokens of another. A thread that is refused pauses for 100 µs, so that the fibers, who are fewer threads, get their
// share of the cores. Both buckets are emptied first: the burst does not count. Then look-ups of 10,000 keys in turn,
// on one thread. One line of JSON.
#include <time.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <system_error>
#include <thread>
#include <vector>

#include "core/context/context.hpp"
#include "core/flow/keyed_token_buckets.hpp"
#include "core/flow/token_bucket.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/wait_group.hpp"
#include "measure.hpp"

using namespace fiberd;

namespace {

constexpr int kProducers = 16;

struct Admitted {
  std::uint64_t count = 0;
  double expected = 0;
  [[nodiscard]] double error() const { return static_cast<double>(count) / expected - 1; }
};

Admitted by_threads(double seconds, double rate, std::int64_t burst) {
  flow::TokenBucket bucket(rate, burst);
  std::atomic<std::uint64_t> count{0};
  (void)bucket.try_take(burst);
  const std::int64_t begin = monotonic_now();
  const std::int64_t end = begin + static_cast<std::int64_t>(seconds * 1e9);
  std::vector<std::thread> threads;
  threads.reserve(kProducers);
  for (int t = 0; t < kProducers; ++t)
    threads.emplace_back([&] {
      std::uint64_t mine = 0;
      for (std::int64_t now = begin; now < end; now = monotonic_now())
        if (bucket.try_take_at(now)) {
          ++mine;
        } else {
          std::this_thread::sleep_for(std::chrono::microseconds(100));
        }
      count.fetch_add(mine);
    });
  for (std::thread& t : threads) t.join();
  return {count.load(), rate * seconds};
}

Admitted by_fibers(double seconds, double rate, std::int64_t burst) {
  flow::TokenBucket bucket(rate, burst);
  std::atomic<std::uint64_t> count{0};
  (void)bucket.try_take(burst);
  const std::int64_t begin = monotonic_now();
  const std::int64_t end = begin + static_cast<std::int64_t>(seconds * 1e9);
  sync::WaitGroup group;
  for (int f = 0; f < kProducers; ++f) {
    const Result<void> r = group.go("producer", [&] {
      const context::Cancelable until = context::with_deadline(context::background(), Deadline::at(end));
      std::uint64_t mine = 0;
      while (bucket.wait(until.context)) ++mine;
      count.fetch_add(mine);
    });
    if (!r) throw std::system_error(r.error());
  }
  group.wait();
  return {count.load(), rate * seconds};
}

std::int64_t thread_cpu_ns() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return std::int64_t{t.tv_sec} * 1'000'000'000 + t.tv_nsec;
}

/// CPU ns a look-up; the median round.
double keyed() {
  constexpr std::size_t kKeys = 10'000;
  constexpr int kRounds = 200;
  flow::KeyedTokenBuckets buckets(1e6, 1000, 2 * kKeys);
  std::vector<std::uint64_t> keys;
  for (std::size_t k = 0; k < kKeys; ++k) {
    char name[16];
    const int size = std::snprintf(name, sizeof name, "10.0.%zu.%zu", k / 256, k % 256);
    keys.push_back(buckets.key_of({name, static_cast<std::size_t>(size)}));
    (void)buckets.try_take(keys.back());
  }
  std::vector<double> rounds;
  for (int r = 0; r < kRounds; ++r) {
    std::size_t admitted = 0;
    const std::int64_t begin = thread_cpu_ns();
    for (const std::uint64_t key : keys) admitted += buckets.try_take(key) ? 1 : 0;
    rounds.push_back(static_cast<double>(thread_cpu_ns() - begin) / static_cast<double>(kKeys));
    if (admitted == 0) std::abort();
  }
  std::nth_element(rounds.begin(), rounds.begin() + kRounds / 2, rounds.end());
  return rounds[kRounds / 2];
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) return 2;
  const double seconds = std::atof(argv[1]);
  Admitted threads;
  Admitted fibers;
  std::thread asking([&] { threads = by_threads(seconds, 100'000, 2'000); });
  auto runtime = runtime::Runtime::start({.gomaxprocs = 2});
  if (!runtime) throw std::system_error(runtime.error());
  (*runtime)->run([&] { fibers = by_fibers(seconds, 10'000, 1'000); });
  asking.join();
  const double lookup = keyed();
  std::printf(
      "{\"seconds\": %.1f, \"threads_admitted\": %llu, \"threads_error\": %.6f, \"fibers_admitted\": %llu, "
      "\"fibers_error\": %.6f, \"keyed_ns\": %.1f}\n",
      seconds, static_cast<unsigned long long>(threads.count), threads.error(),
      static_cast<unsigned long long>(fibers.count), fibers.error(), lookup);
  return 0;
}
