#include "core/runtime/runtime.hpp"

#include <sys/resource.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <string>
#include <thread>

#include "core/base/log.hpp"
#include "core/runtime/scheduler.hpp"
#include "tests/support/start_runtime.hpp"
#include "tests/unit/runtime/within_a_minute.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

std::unique_ptr<Runtime> start_without_hand_off(unsigned processors, unsigned machines_max = 10'000) {
  return test::start_runtime(processors, {.handoff_max = 0, .machines_max = machines_max});
}

/// Sections that block until the gate opens.
struct Sections {
  std::atomic<bool> open{false};
  std::atomic<int> inside{0};
  std::atomic<int> done{0};

  void block() {
    blocking_section([this] {
      ++inside;
      open.wait(false);
    });
    ++done;
  }
  void spawn_on(Runtime& rt, int n) {
    for (int i = 0; i < n; ++i) REQUIRE(rt.spawn("blocks", [this] { block(); }).has_value());
  }
  void release() {
    open = true;
    open.notify_all();
  }
};

/// A check that fails must not leave the runtime waiting for its fibers.
struct ReleaseAtEnd {
  explicit ReleaseAtEnd(Sections& s) : sections(s) {}
  ~ReleaseAtEnd() { sections.release(); }
  ReleaseAtEnd(const ReleaseAtEnd&) = delete;
  ReleaseAtEnd& operator=(const ReleaseAtEnd&) = delete;
  Sections& sections;
};

}  // namespace

TEST_CASE("hundreds of blocking sections at once stall nobody", "[section]") {
  constexpr int kSections = 300;
  Sections sections;
  auto rt = start_without_hand_off(2);
  const ReleaseAtEnd release(sections);
  sections.spawn_on(*rt, kSections);
  REQUIRE(test::within_a_minute([&] { return sections.inside == kSections; }));
  // And a fiber that comes now runs.
  std::atomic<bool> ran{false};
  REQUIRE(rt->spawn("new", [&] { ran = true; }).has_value());
  CHECK(test::within_a_minute([&] { return ran.load(); }));
  REQUIRE(test::within_a_minute([&] { return rt->read_mem_stats().sections_blocked == kSections; }));
  const MemStats s = rt->read_mem_stats();
  CHECK(s.machines >= kSections + 2);
  CHECK(s.sections_retaken >= kSections);
  CHECK(s.sections_waited == 0);
  CHECK(s.sections_stalled == 0);
  CHECK(s.fibers_running == kSections);
  sections.release();
  CHECK(test::within_a_minute([&] { return sections.done == kSections; }));
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().sections_blocked == 0; }));
}

TEST_CASE("threads that sections needed end when nobody needs them any more", "[section]") {
  Sections sections;
  auto rt = start_without_hand_off(1);
  const ReleaseAtEnd release(sections);
  sections.spawn_on(*rt, 60);
  REQUIRE(test::within_a_minute([&] { return rt->read_mem_stats().sections_blocked == 60; }));
  sections.release();
  CHECK(test::within_a_minute([&] { return sections.done == 60; }));
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().machines_spare <= 5; }));
  // And the next ones get new ones.
  Sections again;
  again.spawn_on(*rt, 60);
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().sections_blocked == 60; }));
  again.release();
}

TEST_CASE("a short blocking section leaves its Processor where it is", "[section]") {
  constexpr int kRounds = 20'000;
  auto rt = start_without_hand_off(1);
  int elsewhere = 0;
  std::uint64_t switches = 0;
  rt->run([&] {
    const std::uint64_t before = read_mem_stats().switches;
    const Machine* const machine = Machine::current_machine();
    for (int i = 0; i < kRounds; ++i) {
      blocking_section([] {});
      elsewhere += Machine::current_machine() != machine;
    }
    switches = read_mem_stats().switches - before;
  });
  // Only when the thread was off its core for a millisecond in the midst of one.
  CHECK(rt->read_mem_stats().sections_retaken < 100);
  CHECK(switches < 200);
  CHECK((elsewhere == 0 || rt->read_mem_stats().sections_retaken != 0));
}

TEST_CASE("at the bound of threads sections wait and fibers run", "[section]") {
  Sections sections;
  auto rt = start_without_hand_off(2, 1);  // held to be 2 × 2 threads: one section, or one on each Processor
  const ReleaseAtEnd release(sections);
  sections.spawn_on(*rt, 10);
  REQUIRE(test::within_a_minute([&] {
    const MemStats s = rt->read_mem_stats();
    return s.sections_blocked != 0 && s.sections_waited + s.sections_blocked == 10;
  }));
  const MemStats full = rt->read_mem_stats();
  CHECK(full.sections_blocked <= 2);
  CHECK(full.machines == 2 + full.sections_blocked);
  // Both Processors are there for others.
  std::atomic<int> together{0};
  for (int i = 0; i < 2; ++i)
    REQUIRE(rt->spawn("computes", [&] {
                ++together;
                while (together.load() < 2) {
                }
              }).has_value());
  CHECK(test::within_a_minute([&] { return together == 2; }));
  CHECK(rt->read_mem_stats().sections_stalled == 0);
  sections.release();
  CHECK(test::within_a_minute([&] { return sections.done == 10; }));
  CHECK(sections.inside == 10);
}

#if !defined(FIBERD_ASAN) && !defined(FIBERD_TSAN)
TEST_CASE("where the system gives no thread a section keeps its Processor, is counted, and the rest goes on",
          "[section]") {
  Sections sections;
  auto rt = start_without_hand_off(2);
  const ReleaseAtEnd release(sections);
  rt->run([] {});
  // Stacks of threads are 8 MiB; there is room for less.
  rlimit before{};
  REQUIRE(getrlimit(RLIMIT_AS, &before) == 0);
  std::size_t pages = 0;
  std::FILE* const statm = std::fopen("/proc/self/statm", "re");
  REQUIRE(statm != nullptr);
  REQUIRE(std::fscanf(statm, "%zu", &pages) == 1);
  std::fclose(statm);
  const rlimit little{pages * 4096 + (std::size_t{4} << 20U), before.rlim_max};
  REQUIRE(setrlimit(RLIMIT_AS, &little) == 0);
  std::atomic<bool> ran{false};
  // Threads that have ended left some stacks; one section after the other takes them, until there is none.
  std::uint64_t begun = 0;
  MemStats stats;
  while (begun < 64 && stats.sections_stalled == 0) {
    if (!rt->spawn("blocks", [&] { sections.block(); })) break;
    ++begun;
    (void)test::within_a_minute([&] {
      stats = rt->read_mem_stats();
      return stats.sections_blocked == begun || stats.sections_stalled != 0;
    });
  }
  const Result<void> other = rt->spawn("other", [&] { ran = true; });
  const bool goes_on = test::within_a_minute([&] { return ran.load(); });
  REQUIRE(setrlimit(RLIMIT_AS, &before) == 0);
  CHECK(stats.sections_stalled == 1);
  CHECK(other.has_value());
  CHECK(goes_on);
  // What was refused once is asked for again.
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().sections_blocked == begun; }));
  sections.release();
  CHECK(test::within_a_minute([&] { return sections.done == static_cast<int>(begun); }));
}
#endif

TEST_CASE("inside a blocking section the runtime can be called: spawn, wake, timers", "[section]") {
  auto rt = start_without_hand_off(1);
  std::atomic<int> spawned{0};
  bool woken = false;
  rt->run([&] {
    std::atomic<std::uint64_t> ticket{0};
    std::atomic<bool> done{false};
    (void)spawn("sleeper", [&] {
      const Ticket t = prepare_park(WaitReason::test);
      ticket = t.value;
      woken = park_until(t) == Wake::ready;
      done = true;
    });
    yield();
    blocking_section([&] {
      (void)wake(Ticket{ticket.load()});
      for (int i = 0; i < 100; ++i) (void)spawn("inside", [&] { ++spawned; });
      // Both go on while this thread blocks.
      while (spawned.load() != 100 || !done.load()) std::this_thread::sleep_for(100us);
    });
  });
  CHECK(woken);
  CHECK(spawned == 100);
}

TEST_CASE("a wait, a yield and a pin end a blocking section; sections nest", "[section]") {
  auto rt = start_without_hand_off(2);
  rt->run([&] {
    for (int i = 0; i < 50; ++i) {
      blocking_section([] { (void)sleep_for(10us); });
      blocking_section([] { yield(); });
      blocking_section([] {
        const Pin pin;
        yield();
      });
      blocking_section([] {
        blocking_section([] {});
        blocking_section([] { yield(); });
        std::this_thread::sleep_for(10us);
      });
      const Pin pin;
      blocking_section([] { std::this_thread::sleep_for(10us); });
    }
  });
  CHECK(test::within_a_minute([&] { return rt->read_mem_stats().sections_blocked == 0; }));
  blocking_section([] {});  // not on a fiber
  const MemStats s = rt->read_mem_stats();
  CHECK(s.parks[static_cast<std::size_t>(WaitReason::sleep)] == 50);
}

TEST_CASE("blocking sections while GOMAXPROCS changes lose no fiber", "[section]") {
  constexpr int kFibers = 40;
  std::atomic<int> done{0};
  auto rt = start_without_hand_off(3);
  for (int i = 0; i < kFibers; ++i)
    REQUIRE(rt->spawn("mixed", [&, i] {
                for (int k = 0; k < 30; ++k) {
                  blocking_section(
                      [&] { std::this_thread::sleep_for(std::chrono::microseconds((i * 7 + k) % 5 * 400)); });
                  if (k % 3 == 0) yield();
                  if (k % 7 == 0) (void)sleep_for(100us);
                }
                ++done;
              }).has_value());
  for (int i = 0; i < 20; ++i)
    for (const unsigned n : {1U, 4U, 2U, 3U}) {
      rt->set_gomaxprocs(n);
      std::this_thread::sleep_for(1ms);
    }
  CHECK(test::within_a_minute([&] { return done == kFibers; }));
}
