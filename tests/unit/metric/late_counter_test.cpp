#include "core/metric/late_counter.hpp"

#include <catch2/catch.hpp>
#include <memory>
#include <thread>
#include <vector>

#include "core/base/bug.hpp"
#include "tests/unit/metric/series.hpp"

using namespace fiberd::metric;
using fiberd::test::value;

TEST_CASE("a late counter has a series when it has counted, and not before", "[metric][late]") {
  Registry registry;
  Family& f = registry.family({.name = "c_total", .help = "h", .labels = {"listener", "reason"}});
  LateCounter one(registry, f, "web", "a");
  LateCounter other(registry, f, "web", "b");
  LateCounter* const none = nullptr;
  count(none);
  CHECK_FALSE(registry.shows(f, {"web", "a"}));
  count(&one);
  one.add();
  CHECK(registry.shows(f, {"web", "a"}));
  CHECK(value(registry, "c_total", {"web", "a"}) == 2);
  CHECK_FALSE(value(registry, "c_total", {"web", "b"}));
}

TEST_CASE("what a late counter has counted goes on with the next one of its labels", "[metric][late]") {
  Registry registry({.grace = std::chrono::nanoseconds(0)});
  Family& f = registry.family({.name = "c_total", .help = "h", .labels = {"listener", "reason"}});
  auto before = std::make_unique<LateCounter>(registry, f, "web", "a");
  before->add();
  auto after = std::make_unique<LateCounter>(registry, f, "web", "a");
  before.reset();
  CHECK(value(registry, "c_total", {"web", "a"}) == 1);
  after->add();
  CHECK(value(registry, "c_total", {"web", "a"}) == 2);
  after.reset();
  CHECK_FALSE(value(registry, "c_total", {"web", "a"}));
}

TEST_CASE("late counters that many threads begin at once lose nothing", "[metric][late]") {
  Registry registry;
  Family& f = registry.family({.name = "c_total", .help = "h", .labels = {"listener", "reason"}});
  LateCounter counter(registry, f, "web", "a");
  const std::uint64_t bugs = fiberd::bug_count();
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 1'000; ++i) counter.add();
    });
  for (std::thread& t : threads) t.join();
  CHECK(value(registry, "c_total", {"web", "a"}) == 8'000);
  CHECK(fiberd::bug_count() == bugs);
}
