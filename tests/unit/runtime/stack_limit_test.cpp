// When the stacks are out: who was set aside for goes on, who is refused is counted by why. The limit is a stand-in for
// vm.max_map_count; the kernel's own takes tens of thousands of fibers (the nightly case).
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <string>
#include <thread>
#include <vector>

#include "core/runtime/blocking.hpp"
#include "core/runtime/errc.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "tests/support/kept_log.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/start_runtime.hpp"
#include "tests/unit/runtime/debug_setting.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;
using fiber::StackClaim;

namespace {

std::uint64_t refusals(const MemStats& stats, const std::error_code& reason) {
  for (const SpawnRefusal& r : stats.spawn_refusals)
    if (r.count != 0 && r.reason == reason) return r.count;
  return 0;
}

}  // namespace

TEST_CASE("at the limit of stacks a thread's run() and reserved spawns go on, the others are counted by why",
          "[runtime][stacks]") {
  const test::DebugSetting debug("guard=mprotect,max_map_count=1000");
  auto rt = test::start_runtime(2, {.stack_size = 16 * 1024, .reserve = 20, .reserve_final = 8});
  CHECK(rt->read_mem_stats().stacks_most == 437);
  CHECK(rt->read_mem_stats().stacks_reserve == 24);  // two for each Processor
  static CancelSource go;
  std::atomic<unsigned> parked{0};
  unsigned spawned = 0;
  std::error_code refused;
  const auto park = [&parked] {
    ++parked;
    (void)sleep_for(10h, &go);
  };
  rt->run([&] {
    while (!refused && spawned < 1000) {
      if (auto r = spawn("parked", park))
        ++spawned;
      else
        refused = r.error();
    }
  });
  CHECK(refused == errc::out_of_stacks);
  CHECK(refused == std::errc::not_enough_memory);
  CHECK(spawned + 24 <= 437);
  MemStats stats = rt->read_mem_stats();
  CHECK(stats.spawns_refused == 1);
  CHECK(refusals(stats, errc::out_of_stacks) == 1);

  // Nobody ends meanwhile; the pages and the drain run all the same.
  unsigned reports = 0;
  unsigned last = 0;
  bool ran = false;
  rt->run([&] {
    ran = true;
    while (reports < 100 && spawn_reserved(StackClaim::report, "report", park)) ++reports;
    while (last < 100 && spawn_reserved(StackClaim::finish, "finish", park)) ++last;
  });
  CHECK(ran);
  CHECK(reports >= 24 - 8 - 1);  // run()'s own fiber has one
  CHECK(reports + last >= 24 - 1);
  CHECK(last >= 1);
  CHECK(last <= 9);
  stats = rt->read_mem_stats();
  CHECK(refusals(stats, errc::out_of_stacks) == 3);
  CHECK(stats.stacks_reserve_in_use >= 23);
  std::size_t reached = 0;
  rt->run([&] { reached = parked; });  // run()'s own came back, and was the only one to
  CHECK(reached <= spawned + reports + last);
  go.cancel();
  rt->run([&] {
    // Some have not begun yet.
    for (int i = 0; i < 1'000'000; ++i) {
      if (parked == spawned + reports + last && rt->read_mem_stats().fibers_waiting == 0) break;
      yield();
    }
  });
  CHECK(parked == spawned + reports + last);
  CHECK(rt->read_mem_stats().stacks_reserve_in_use == 0);
  std::error_code after;
  rt->run([&] {
    if (auto r = spawn("after", [] {}); !r) after = r.error();
  });
  CHECK(!after);
}

TEST_CASE("the maps left to others follow the limit of the blocking pool", "[runtime][stacks]") {
  const test::DebugSetting debug("guard=mprotect,max_map_count=65530");
  CHECK(test::start_runtime(2)->read_mem_stats().stacks_most == 32'253);  // what the documents say
  // 2 maps for each of 4,096 threads and 4 for each of 2 + 4 machines, beside 768.
  CHECK(test::start_runtime(2, {.blocking_threads = 4096})->read_mem_stats().stacks_most ==
        (65'530 - 768 - 8192 - 24) / 2);
}

TEST_CASE("where the kernel allows too few maps for the blocking pool, it is made smaller and says so",
          "[runtime][stacks]") {
  const test::DebugSetting debug("guard=mprotect,max_map_count=1600");
  const test::KeptLog log;
  auto rt = test::start_runtime(2, {.stack_size = 16 * 1024, .blocking_threads = 800});
  CHECK(log.holds("vm.max_map_count is too low for 800 blocking threads"));
  CHECK(log.holds(": 200 at most are started"));
  std::atomic<unsigned> inside{0};
  std::atomic<unsigned> done{0};
  unsigned spawned = 0;
  std::uint64_t most = 0;
  rt->run([&] {
    for (int i = 0; i < 210; ++i)
      spawned += spawn("blocks",
                       [&] {
                         blocking([&] {
                           ++inside;
                           while (inside < 200) std::this_thread::yield();
                         });
                         ++done;
                       })
                     ? 1U
                     : 0U;
    while (done != spawned) {
      most = std::max(most, rt->read_mem_stats().blocking_threads);
      (void)sleep_for(1ms);
    }
  });
  CHECK(most <= 200);
  CHECK(spawned == 210);
}

TEST_CASE("4,096 blocking threads beside as many stacks as the kernel guards", "[.nightly]") {
  if (test::kSanitized) return;
  const test::DebugSetting debug("guard=mprotect");
  auto rt = test::start_runtime(2, {.stack_size = 16 * 1024, .blocking_threads = 4096});
  static CancelSource go;
  static std::atomic<bool> leave{false};
  std::atomic<unsigned> inside{0};
  std::atomic<unsigned> ended{0};
  unsigned spawned = 0;
  rt->run([&] {
    for (int i = 0; i < 4096; ++i)
      (void)spawn("blocks", [&] {
        blocking([&] {
          ++inside;
          leave.wait(false);
        });
        ++ended;
      });
    while (spawned < 100'000 && spawn("parked", [] { (void)sleep_for(10h, &go); })) {
      if (++spawned % 64 == 0) yield();
    }
    for (int i = 0; i < 2000 && inside != 4096; ++i) (void)sleep_for(10ms);
  });
  CHECK(inside == 4096);
  CHECK(spawned > 20'000);
  std::vector<std::vector<char>> blocks;
  for (int i = 0; i < 64; ++i) blocks.emplace_back(std::size_t{1} << 20U);  // memory is to be had still
  go.cancel();
  leave = true;
  leave.notify_all();
  rt->run([&] {
    while (ended != 4096) (void)sleep_for(10ms);
  });
}
