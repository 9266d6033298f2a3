// million_fibers [N]: N fibers (1,000,000) that all wait at once; prints bytes per fiber, wakes them and joins.
// With FIBERDEBUG=guard=mprotect maps run out before: the refused spawn is printed, and the fibers that did start end.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;

static std::size_t resident() {
  std::size_t size = 0;
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> size >> pages;
  return pages * static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
}

int main(int argc, char** argv) {
  const std::size_t wanted = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1'000'000;
  auto rt = Runtime::start({.gomaxprocs = 1});
  if (!rt) {
    std::fprintf(stderr, "start: %s\n", rt.error().message().c_str());
    return 1;
  }
  std::atomic<std::size_t> ended{0};
  std::size_t started = 0;
  std::size_t before = 0;
  std::size_t during = 0;
  std::error_code refused;
  CancelSource all;
  const std::int64_t begin = monotonic_now();
  (*rt)->run([&] {
    before = resident();
    for (; started < wanted; ++started) {
      const Result<void> spawned = spawn("parked", [&] {
        (void)park_until(prepare_park(WaitReason::test), Deadline::never(), &all);
        ended.fetch_add(1, std::memory_order_relaxed);
      });
      if (!spawned) {
        refused = spawned.error();
        break;
      }
      if (started % 128 == 0) yield();
    }
    yield();
    during = resident();
    all.cancel();
  });
  const MemStats stats = (*rt)->read_mem_stats();
  rt->reset();
  std::printf("fibers=%zu bytes_per_fiber=%.0f kib_per_fiber=%.2f seconds=%.2f guard=%s\n", started,
              started != 0 ? static_cast<double>(during - before) / static_cast<double>(started) : 0.0,
              started != 0 ? static_cast<double>(during - before) / static_cast<double>(started) / 1024 : 0.0,
              static_cast<double>(monotonic_now() - begin) * 1e-9,
              std::string(fiber::to_string(stats.guard_kind)).c_str());
  if (refused) std::printf("spawn %zu was refused: %s\n", started + 1, refused.message().c_str());
  if (ended != started) {
    std::fprintf(stderr, "%zu fibers started, %zu ended\n", started, ended.load());
    return 1;
  }
  return 0;
}
