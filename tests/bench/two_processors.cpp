// two_processors: does a second Processor help, and does it rescue what a busy one leaves waiting?
//   1. CPU jobs of about 1 ms on one Processor and on two: ratio of the throughputs, interleaved rounds.
//   2. Two Processors; a pinned-down one runs handlers of 5 ms without a pause while 32 connections of its Poller carry
//      light requests: p99 of their answers.
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/net/tcp_stream.hpp"
#include "core/runtime/runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;

static std::atomic<std::uint64_t> sink;

/// A fixed amount of work, about a millisecond: counted in steps, since a clock would also count stolen time.
static void one_millisecond(std::uint64_t steps) {
  std::uint64_t x = 88172645463325252ULL;
  for (std::uint64_t i = 0; i < steps; ++i) {
    x ^= x << 13U;
    x ^= x >> 7U;
    x ^= x << 17U;
  }
  sink.fetch_add(x, std::memory_order_relaxed);
}

static std::uint64_t calibrate() {
  std::uint64_t steps = 100'000;
  for (;;) {
    const std::int64_t begin = monotonic_now();
    one_millisecond(steps);
    const std::int64_t took = monotonic_now() - begin;
    if (took > 5'000'000) return steps * 1'000'000 / static_cast<std::uint64_t>(took);
    steps *= 2;
  }
}

static double jobs_per_second(unsigned processors, std::uint64_t steps, int jobs) {
  auto rt = *Runtime::start({.gomaxprocs = processors});
  const std::int64_t begin = monotonic_now();
  rt->run([&] {
    for (int i = 0; i < jobs; ++i) (void)spawn("job", [steps] { one_millisecond(steps); });
  });
  rt.reset();  // waits for all
  return jobs / (static_cast<double>(monotonic_now() - begin) * 1e-9);
}

static double light_p99_ms(double seconds) {
  constexpr int kConnections = 32;
  auto rt = *Runtime::start({.gomaxprocs = 2});
  std::atomic<bool> stop{false};
  std::vector<std::array<int, 2>> pairs(kConnections);
  for (auto& p : pairs)
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, p.data()) != 0) return -1;
  std::atomic<int> registered{0};
  // All connections wait first on Processor 0, so they live in its Poller.
  rt->run([&] {
    for (auto& p : pairs)
      (void)spawn_on(0, "accept", [&, fd = p[0]] {
        auto stream = std::make_shared<net::TcpStream>(std::move(*net::TcpStream::adopt(fd)));
        std::array<std::byte, 64> b{};
        (void)stream->read_some(b);  // the first message: registered in this Poller from now on
        (void)stream->write_all(std::span<const std::byte>(b.data(), 1));
        ++registered;
        (void)spawn("light", [stream] {
          std::array<std::byte, 64> buffer{};
          for (;;) {
            const auto n = stream->read_some(buffer);
            if (!n || *n == 0) return;
            if (!stream->write_all(std::span<const std::byte>(buffer).first(*n))) return;
          }
        });
      });
  });
  std::vector<double> latencies;
  for (auto& p : pairs) {
    char c = 'x';
    (void)!write(p[1], &c, 1);
    while (read(p[1], &c, 1) != 1) std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  // Processor 0 is held by one 5 ms handler after the other.
  (void)rt->spawn("heavy", [&] {
    while (!stop) {
      const std::int64_t end = monotonic_now() + 5'000'000;
      while (monotonic_now() < end) {
      }
      yield();
    }
  });
  std::vector<std::thread> clients;
  std::vector<std::vector<double>> results(4);
  for (std::size_t t = 0; t < results.size(); ++t)
    clients.emplace_back([&, t] {
      // Each thread drives its connections in turn; requests are light and rare.
      const std::int64_t end = monotonic_now() + static_cast<std::int64_t>(seconds * 1e9);
      while (monotonic_now() < end)
        for (std::size_t i = t; i < pairs.size(); i += results.size()) {
          char c = 'x';
          const std::int64_t begin = monotonic_now();
          (void)!write(pairs[i][1], &c, 1);
          while (read(pairs[i][1], &c, 1) != 1) std::this_thread::sleep_for(std::chrono::microseconds(50));
          results[t].push_back(static_cast<double>(monotonic_now() - begin) * 1e-6);
          std::this_thread::sleep_for(std::chrono::milliseconds(2));
        }
    });
  for (auto& t : clients) t.join();
  stop = true;
  for (auto& p : pairs) close(p[1]);
  rt.reset();
  for (auto& r : results) latencies.insert(latencies.end(), r.begin(), r.end());
  std::sort(latencies.begin(), latencies.end());
  return latencies.empty() ? -1 : latencies[latencies.size() * 99 / 100];
}

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 15;
  const std::uint64_t steps = calibrate();
  std::vector<double> ratios;
  for (int r = 0; r < rounds; ++r) {
    const double one = jobs_per_second(1, steps, 200);
    const double two = jobs_per_second(2, steps, 200);
    ratios.push_back(two / one);
  }
  std::sort(ratios.begin(), ratios.end());
  std::printf("jobs_of_1ms: two Processors / one: median=%.2f best=%.2f worst=%.2f rounds=%d\n",
              ratios[ratios.size() / 2], ratios.back(), ratios.front(), rounds);
  std::vector<double> p99;
  for (int r = 0; r < std::min(rounds, 5); ++r) p99.push_back(light_p99_ms(2.0));
  std::sort(p99.begin(), p99.end());
  std::printf("light requests beside 5 ms handlers: p99 median=%.2f ms best=%.2f worst=%.2f\n", p99[p99.size() / 2],
              p99.front(), p99.back());
  return 0;
}
