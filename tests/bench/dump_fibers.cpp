// What a dump of 100,000 fibers costs, and whom it holds up.
//
//   dump_fibers [PROCESSORS]    2; with 1 a machine of two CPUs has one for the thread that makes the dump
//
// All wait for a channel. On each Processor a pinned fiber yields again and again and measures the longest time
// between two of its turns, by the wall and by the thread's CPU time: what the machine steals is in the first alone.
// The flight recorder's own figure stands beside them: the longest turn of any fiber on a Processor. Each form of the
// dump is made with its text thrown away, beside a quiet stretch of the same length.
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <string_view>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/observe/fiber_dump.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/trace_reader.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/wait_group.hpp"

using namespace fiberd;

namespace {

constexpr int kFibers = 100'000;

std::int64_t cpu_now() {
  timespec t{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

struct Beat {
  std::atomic<std::int64_t> wall{0};
  std::atomic<std::int64_t> cpu{0};
};

void beat(Beat& longest, const std::atomic<bool>& over) {
  const runtime::Pin pin;
  std::int64_t wall = monotonic_now();
  std::int64_t cpu = cpu_now();
  pid_t thread = ::gettid();
  while (!over) {
    runtime::yield();
    const std::int64_t now = monotonic_now();
    const std::int64_t used = cpu_now();
    const pid_t here = ::gettid();
    longest.wall = std::max(longest.wall.load(), now - wall);
    // On another thread by now, after a hand-off: its clock is another.
    if (here == thread) longest.cpu = std::max(longest.cpu.load(), used - cpu);
    wall = now;
    cpu = used;
    thread = here;
  }
}

}  // namespace

int main(int argc, char** argv) {
  const auto processors = static_cast<unsigned>(argc > 1 ? std::max(std::atoi(argv[1]), 1) : 2);
  auto rt = runtime::Runtime::start({.gomaxprocs = processors, .trace_buffer = std::size_t{64} << 20U});
  if (!rt) {
    std::fprintf(stderr, "dump_fibers: %s\n", rt.error().message().c_str());
    return 1;
  }
  std::vector<Beat> beats(processors);
  // Looks while something is measured, so that no ring goes round meanwhile.
  std::atomic<bool> watching{true};
  std::atomic<std::int64_t> longest_turn{0};
  std::atomic<std::uint64_t> lost{0};
  std::thread watcher([&] {
    runtime::TraceReader reader((*rt)->scheduler().tracer(), runtime::TraceReader::From::now);
    runtime::TracePauses pauses;
    while (watching) {
      lost += reader.look([&](const runtime::TraceItem& item) { pauses.see(item); });
      longest_turn = std::max(longest_turn.load(), pauses.take_longest(reader.until()));
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  std::atomic<bool> over{false};
  int code = 0;
  (*rt)->run([&] {
    sync::Channel<int> never;
    sync::WaitGroup group;
    std::atomic<int> waiting{0};
    for (int i = 0; i < kFibers && code == 0; ++i) {
      group.add(1);
      if (const auto spawned = runtime::spawn("waits",
                                              [&] {
                                                ++waiting;
                                                (void)never.receive();
                                                group.done();
                                              });
          !spawned) {
        std::fprintf(stderr, "dump_fibers: %s\n", spawned.error().message().c_str());
        group.done();
        code = 1;
      }
      if (i % 256 == 0) runtime::yield();
    }
    while (code == 0 && waiting != kFibers) runtime::yield();
    for (unsigned i = 0; i < processors; ++i) {
      group.add(1);
      if (!runtime::spawn_on(i, "beats", [&, i] {
            beat(beats[i], over);
            group.done();
          }))
        group.done();
    }
    const observe::TextSink nowhere = [](std::string_view) -> Result<void> { return {}; };
    const auto measure = [&](const char* what, const std::function<void()>& fn) {
      for (Beat& b : beats) b.wall = b.cpu = 0;
      longest_turn = 0;
      const std::int64_t began = monotonic_now();
      fn();
      const std::int64_t took = monotonic_now() - began;
      std::int64_t wall = 0;
      std::int64_t cpu = 0;
      for (Beat& b : beats) {
        wall = std::max(wall, b.wall.load());
        cpu = std::max(cpu, b.cpu.load());
      }
      // The watcher's last look may have been before the end.
      (void)runtime::sleep_for(std::chrono::milliseconds(200));
      std::printf(
          "%-22s %8.1f ms, longest between two turns of a Processor: %7.3f ms, of CPU %7.3f ms, by the trace %7.3f ms "
          "(%llu events lost)\n",
          what, static_cast<double>(took) / 1e6, static_cast<double>(wall) / 1e6, static_cast<double>(cpu) / 1e6,
          static_cast<double>(longest_turn.load()) / 1e6, static_cast<unsigned long long>(lost.exchange(0)));
      return took;
    };
    for (int round = 0; round < 3 && code == 0; ++round) {
      std::int64_t longest = 0;
      longest = std::max(longest, measure("each (debug=2)", [&] { (void)observe::dump_fibers({}, nowhere); }));
      longest = std::max(longest, measure("grouped (debug=1)", [&] { (void)observe::group_fibers({}, nowhere); }));
      longest = std::max(longest, measure("pprof's protobuf", [&] { (void)observe::profile_fibers({}); }));
      (void)measure("nothing", [&] { (void)runtime::sleep_for(std::chrono::nanoseconds(longest)); });
    }
    over = true;
    never.close();
    (void)group.wait();
  });
  watching = false;
  watcher.join();
  return code;
}
