// Places in the source where fibers are spawned: how many, how late they run, who wakes themselves, who runs long.
#include "core/runtime/spawn_sites.hpp"

#include <algorithm>
#include <atomic>
#include <bit>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/site_table.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/sanitized.hpp"
#include "tests/support/start_runtime.hpp"
#include "tests/unit/runtime/within_a_minute.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

/// Of the place whose first fiber has that name; all zeros: there is none.
SpawnSiteStats site_named(std::string_view name) {
  for (const SpawnSiteStats& s : read_spawn_sites())
    if (s.name == name) return s;
  return {};
}

}  // namespace

TEST_CASE("each place has the numbers of its own fibers", "[runtime][sites]") {
  auto rt = test::start_runtime(2);
  static CancelSource go;
  int line = 0;
  rt->run([&] {
    sync::WaitGroup group;
    for (int i = 0; i < 100; ++i) {
      group.add();
      line = __LINE__ + 1;
      if (!spawn("many", [&group] { group.done(); })) std::abort();
    }
    group.add(3);
    for (int i = 0; i < 3; ++i)
      if (!spawn("few", [&group] {
            group.done();
            (void)sleep_for(10h, &go);
          }))
        std::abort();
    group.wait();
  });
  CHECK(test::within_a_minute([] { return site_named("many").ended == 100; }));
  const SpawnSiteStats many = site_named("many");
  CHECK(many.spawned == 100);
  CHECK(many.line == static_cast<std::uint32_t>(line));
  CHECK(many.file.ends_with("spawn_sites_test.cpp"));
  CHECK(site_named("few").spawned == 3);
  CHECK(site_named("few").ended == 0);
  const std::string table = describe_spawn_sites(1);
  INFO(table);
  CHECK(table.find("SITES 1 of ") == 0);
  CHECK(table.find(" \"few\"") != std::string::npos);  // those with the most alive first
  CHECK(table.find(" \"many\"") == std::string::npos);
  CHECK(table.find("ms ", table.find("longest  ")) != std::string::npos);  // no minutes
  (void)go.cancel();
}

TEST_CASE("who wakes itself is told from who is woken", "[runtime][sites]") {
  auto rt = test::start_runtime(1);
  const int rounds = test::kSanitized ? 4'000 : 40'000;
  rt->run([&] {
    sync::WaitGroup group;
    group.add(4);
    sync::Channel<int> there(0);
    sync::Channel<int> back(0);
    if (!spawn("yields", [&] {
          for (int i = 0; i < rounds; ++i) yield();
          group.done();
        }))
      std::abort();
    if (!spawn("wakes itself", [&] {
          for (int i = 0; i < rounds; ++i) {
            const Ticket ticket = prepare_park(WaitReason::test);
            (void)wake(ticket, Wake::ready);
            park(ticket);
          }
          group.done();
        }))
      std::abort();
    if (!spawn("asks", [&] {
          for (int i = 0; i < rounds; ++i) {
            (void)there.send(i);
            (void)back.receive();
          }
          group.done();
        }))
      std::abort();
    if (!spawn("answers", [&] {
          for (int i = 0; i < rounds; ++i) {
            (void)there.receive();
            (void)back.send(i);
          }
          group.done();
        }))
      std::abort();
    group.wait();
  });
  for (const char* const name : {"yields", "wakes itself"}) {
    INFO(name);
    const SpawnSiteStats s = site_named(name);
    CHECK(s.wakes >= 5);
    CHECK(s.wakes_by_itself * 10 >= s.wakes * 9);
  }
  for (const char* const name : {"asks", "answers"}) {
    INFO(name);
    const SpawnSiteStats s = site_named(name);
    CHECK(s.wakes >= 5);
    CHECK(s.wakes_by_itself * 10 <= s.wakes);
    std::uint64_t sampled = 0;
    for (const std::uint64_t n : s.latency_buckets) sampled += n;
    CHECK(sampled == s.wakes);
    CHECK(s.latency_sum_ns > 0);
  }
}

TEST_CASE("a wake of its own that was not needed is not the next one's", "[runtime][sites]") {
  auto rt = test::start_runtime(1);
  static constexpr int kRounds = 1'500;
  std::atomic<std::uint64_t> wanted{0};
  std::thread other([&] {
    for (int i = 0; i < kRounds; ++i) {
      std::uint64_t ticket = 0;
      while ((ticket = wanted.load()) == 0) std::this_thread::yield();
      (void)wake(Ticket{ticket}, Wake::ready);
      wanted = 0;
    }
  });
  rt->run([&] {
    sync::WaitGroup group;
    group.add();
    if (!spawn("is woken", [&] {
          for (int i = 0; i < kRounds; ++i) {
            const Ticket own = prepare_park(WaitReason::test);
            (void)wake(own, Wake::ready);
            (void)abandon_park(own);
            const Ticket ticket = prepare_park(WaitReason::test);
            wanted = ticket.value;
            while (wanted != 0) std::this_thread::yield();  // before it has left
            park(ticket);
          }
          group.done();
        }))
      std::abort();
    group.wait();
  });
  other.join();
  CHECK(site_named("is woken").wakes >= 5);
  CHECK(site_named("is woken").wakes_by_itself == 0);
}

TEST_CASE("long turns are noticed and told of their place", "[runtime][sites]") {
  auto rt = test::start_runtime(1);
  static std::atomic<bool> enough{false};
  enough = false;
  rt->run([] {
    if (!spawn("computes", [] {
          while (!enough) {
            for (const std::int64_t end = monotonic_now() + 15'000'000; monotonic_now() < end;) {
            }
            yield();
          }
        }))
      std::abort();
  });
  CHECK(test::within_a_minute([] { return site_named("computes").long_runs >= 3; }));
  enough = true;
  CHECK(site_named("computes").longest_run_ns > 1'000'000);
}

#if defined(__cpp_lib_source_location) && defined(__GLIBCXX__)
TEST_CASE("the table of places is bounded, and one place is one however many pointers name it", "[runtime][sites]") {
  // What a std::source_location of this library points to.
  struct Place {
    const char* file;
    const char* function;
    unsigned line;
    unsigned column;
  };
  static_assert(sizeof(SourceLocation) == sizeof(const Place*));
  SiteTable table;
  REQUIRE(table.made());
  table.configure(true, false, 256 * 1024);
  std::deque<Place> places;
  const auto find = [&](const char* file, unsigned line) {
    const Place& place = places.emplace_back(Place{file, "f", line, 1});
    return table.find(std::bit_cast<SourceLocation>(&place), "name");
  };
  const std::string other_text = "a.cpp";  // the same text elsewhere
  for (unsigned line = 1; line < SiteTable::kSites; ++line) {
    CHECK(find("a.cpp", line) == line);
    CHECK(find(other_text.c_str(), line) == line);
  }
  CHECK(table.size() == SiteTable::kSites);
  for (unsigned line = 1; line < 3000; ++line) CHECK(find("b.cpp", line) == SiteTable::kOthers);
  CHECK(find("a.cpp", 17) <= SiteTable::kSites);  // keys are out by now: found as one of all others
  CHECK(table.size() == SiteTable::kSites);
}
#endif
