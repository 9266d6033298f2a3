// million_fibers [N [learnt]]: N fibers (1,000,000) that all wait at once; prints bytes per fiber, resident and
// reserved, wakes them and joins. learnt: their place has learnt before what stack they need (Options::stack_learning).
// With FIBERDEBUG=guard=mprotect maps run out before: the refused spawn is printed, and the fibers that did start end.
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>

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
  const bool learnt = argc > 2 && std::string_view(argv[2]) == "learnt";
  auto rt = Runtime::start({.gomaxprocs = 1, .stack_learning = learnt});
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
  // Those who teach and those who are taught come from one place; the former are woken before the others are born.
  std::atomic<std::size_t> teachers{0};
  CancelSource lesson;
  const auto park_one = [&](CancelSource& until, std::atomic<std::size_t>& count) {
    return spawn("parked", [&until, &count] {
      (void)park_until(prepare_park(WaitReason::test), Deadline::never(), &until);
      count.fetch_add(1, std::memory_order_relaxed);
    });
  };
  MemStats parked;
  (*rt)->run([&] {
    static constexpr std::size_t kTeachers = 128;
    for (std::size_t i = 0; learnt && i < kTeachers; ++i)
      if (!park_one(lesson, teachers)) std::abort();
    lesson.cancel();
    while (learnt && teachers != kTeachers) yield();
    yield();
    before = resident();
    for (; started < wanted; ++started) {
      const Result<void> spawned = park_one(all, ended);
      if (!spawned) {
        refused = spawned.error();
        break;
      }
      if (started % 128 == 0) yield();
    }
    yield();
    during = resident();
    parked = read_mem_stats();
    all.cancel();
  });
  const MemStats stats = (*rt)->read_mem_stats();
  rt->reset();
  const StackClassStats& stacks =
      parked.stack_classes[static_cast<std::size_t>(learnt ? StackClass::learnt_16 : StackClass::normal)];
  std::printf("class=%s stacks=%llu reserved_kib_per_stack=%.2f\n", learnt ? "learnt_16k" : "normal",
              static_cast<unsigned long long>(stacks.in_use), static_cast<double>(stacks.size) / 1024);
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
