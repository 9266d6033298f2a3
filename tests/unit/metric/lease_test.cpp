// Series that are leased: they go on over a change of owners, linger for scrapers, disappear, and their cells are used
// again.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "core/base/thread_locals.hpp"
#include "core/metric/registry.hpp"
#include "core/metric/shard.hpp"
#include "core/metric/status_counters.hpp"
#include "tests/unit/metric/series.hpp"

using namespace fiberd::metric;
using fiberd::test::kMethods;
using fiberd::test::status_families;
using fiberd::test::value;

namespace {

std::atomic<std::int64_t> time_now{0};
std::int64_t test_now() noexcept { return time_now.load(); }
constexpr std::int64_t kGrace = 300'000'000'000;
constexpr RegistryOptions kOptions{.grace = std::chrono::nanoseconds(kGrace), .now = &test_now};

std::size_t series(const Registry& registry, std::string_view name) {
  for (const FamilySnapshot& family : registry.snapshot())
    if (family.spec.name == name) return family.samples.size();
  return 0;
}

Family& counters(Registry& registry, std::size_t most = 1000) {
  return registry.family({.name = "c_total", .help = "h", .labels = {"l"}, .max_series = most});
}

}  // namespace

TEST_CASE("equal labels count on the same cells, whoever leased them first", "[metric][lease]") {
  Registry registry(kOptions);
  Family& f = counters(registry);
  auto before = std::make_unique<Lease<Counter>>(registry.lease_counter(f, {"x"}));
  (*before)->add(3);
  const Lease<Counter> after = registry.lease_counter(f, {"x"});
  after->add(4);
  (*before)->add(1);
  CHECK(value(registry, "c_total", {"x"}) == 8);
  before.reset();
  time_now += 2 * kGrace;
  CHECK(value(registry, "c_total", {"x"}) == 8);
  after->add();
  CHECK(value(registry, "c_total", {"x"}) == 9);
}

TEST_CASE("a series without a lease is shown until its grace is over, and goes on when it is leased before that",
          "[metric][lease]") {
  Registry registry(kOptions);
  Family& f = counters(registry);
  registry.lease_counter(f, {"x"})->add(5);
  CHECK(registry.lingering() == 1);
  time_now += kGrace - 1;
  CHECK(value(registry, "c_total", {"x"}) == 5);
  registry.lease_counter(f, {"x"})->add(2);  // and its grace begins anew
  time_now += kGrace - 1;
  CHECK(value(registry, "c_total", {"x"}) == 7);
  time_now += 1;
  CHECK_FALSE(value(registry, "c_total", {"x"}));
  CHECK(registry.lingering() == 0);
  CHECK(registry.lease_counter(f, {"x"})->value() == 0);
}

TEST_CASE("what was asked for without a lease stays", "[metric][lease]") {
  Registry registry(kOptions);
  Family& f = counters(registry);
  {
    const Lease<Counter> lease = registry.lease_counter(f, {"x"});
    registry.counter(f, {"x"}).add(2);
  }
  time_now += 2 * kGrace;
  CHECK(value(registry, "c_total", {"x"}) == 2);
}

TEST_CASE("cells are used again, from zero, for counters, gauges and histograms", "[metric][lease]") {
  Registry registry(kOptions);
  Family& c = counters(registry);
  Family& g = registry.family({.name = "g", .help = "h", .type = Type::gauge, .labels = {"l"}});
  Family& h = registry.family({.name = "h_seconds", .help = "h", .type = Type::histogram, .labels = {"l"}});
  std::uint64_t bytes = 0;
  for (int i = 0; i < 1000; ++i) {
    const std::string label = std::to_string(i);
    {
      Leases leases(registry);
      Counter& counter = leases.counter(c, {label});
      Gauge& gauge = leases.gauge(g, {label});
      Histogram& histogram = leases.histogram(h, {label});
      REQUIRE(counter.value() == 0);
      REQUIRE(gauge.value() == 0);
      REQUIRE(histogram.sum() == 0);
      counter.add(7);
      gauge.add(3);
      gauge.set(100);
      histogram.observe(1'000'000);
    }
    time_now += kGrace;
    if (i == 10) bytes = registry.cell_bytes();
  }
  CHECK(registry.cell_bytes() == bytes);
}

TEST_CASE("a thousand owners within one grace: what lingers is bounded, the oldest go first", "[metric][lease]") {
  Registry registry(kOptions);
  Family& f = counters(registry);
  std::uint64_t bytes = 0;
  for (int i = 0; i < 1000; ++i) {
    registry.lease_counter(f, {std::to_string(i)})->add();
    if (i == 100) bytes = registry.cell_bytes();
  }
  CHECK(series(registry, "c_total") == 64);
  CHECK(value(registry, "c_total", {"999"}) == 1);
  CHECK_FALSE(value(registry, "c_total", {"935"}));
  CHECK(registry.cell_bytes() == bytes);
}

TEST_CASE("what lingers makes room for what is new, before the overflow series does", "[metric][lease]") {
  Registry registry(kOptions);
  Family& f = counters(registry, 3);
  const Lease<Counter> held = registry.lease_counter(f, {"held"});
  for (const char* const label : {"a", "b"}) registry.lease_counter(f, {label})->add();
  const Lease<Counter> fresh = registry.lease_counter(f, {"fresh"});
  CHECK_FALSE(value(registry, "c_total", {"a"}));
  CHECK(value(registry, "c_total", {"b"}) == 1);
  const Lease<Counter> last = registry.lease_counter(f, {"last"});
  const Lease<Counter> beyond = registry.lease_counter(f, {"beyond"});
  beyond->add(5);
  CHECK(value(registry, "c_total", {"other"}) == 5);
  CHECK(value(registry, std::string(kSeriesRefused), {"c_total"}) == 1);
}

TEST_CASE("leases move, and are given back once", "[metric][lease]") {
  Registry registry(kOptions);
  Family& f = counters(registry);
  Lease<Counter> a = registry.lease_counter(f, {"x"});
  Lease<Counter> b = std::move(a);
  b->add();
  a = registry.lease_counter(f, {"y"});
  b = std::move(a);  // x goes
  CHECK(registry.lingering() == 1);
  a.reset();
  b.reset();
  b.reset();
  CHECK(registry.lingering() == 2);
}

TEST_CASE("callbacks with equal labels are added up, whichever goes first", "[metric][lease]") {
  Registry registry(kOptions);
  Family& f = registry.family({.name = "g", .help = "h", .type = Type::gauge, .labels = {"l"}});
  CallbackHandle before = registry.callback(f, {"x"}, [] { return 1.0; });
  CallbackHandle after = registry.callback(f, {"x"}, [] { return 2.0; });
  CHECK(value(registry, "g", {"x"}) == 3);
  CHECK(series(registry, "g") == 1);
  SECTION("the old one") {
    before.reset();
    CHECK(value(registry, "g", {"x"}) == 2);
    after.reset();
  }
  SECTION("the new one: its configuration was given up") {
    after.reset();
    CHECK(value(registry, "g", {"x"}) == 1);
    before.reset();
  }
  CHECK_FALSE(value(registry, "g", {"x"}));
}

TEST_CASE("a counter of callbacks never falls while somebody looks", "[metric][lease]") {
  Registry registry(kOptions);
  Family& f = registry.family({.name = "c_total", .help = "h", .type = Type::counter, .labels = {"l"}});
  double a = 5;
  double b = 0;
  CallbackHandle before = registry.callback(f, {"x"}, [&] { return a; });
  CallbackHandle after = registry.callback(f, {"x"}, [&] { return b; });
  CHECK(value(registry, "c_total", {"x"}) == 5);
  b = 2;
  a = 6;  // what it counted last counts
  before.reset();
  CHECK(value(registry, "c_total", {"x"}) == 8);
  after.reset();
  CHECK(value(registry, "c_total", {"x"}) == 8);
  CHECK(registry.lingering() == 1);
  SECTION("the next one goes on") {
    const CallbackHandle next = registry.callback(f, {"x"}, [] { return 1.0; });
    CHECK(value(registry, "c_total", {"x"}) == 9);
    CHECK(registry.lingering() == 0);
    CHECK(series(registry, "c_total") == 1);
  }
  SECTION("one that counts by itself goes on, too") {
    const Lease<Counter> next = registry.lease_counter(f, {"x"});
    next->add();
    CHECK(value(registry, "c_total", {"x"}) == 9);
  }
  SECTION("nobody comes: it goes behind its grace") {
    time_now += 2 * kGrace;
    CHECK_FALSE(value(registry, "c_total", {"x"}));
  }
}

TEST_CASE("a counter whose callback can be read no more keeps what was known", "[metric][lease]") {
  Registry registry(kOptions);
  Family& f = registry.family({.name = "c_total", .help = "h", .type = Type::counter, .labels = {"l"}});
  const CallbackHandle stays = registry.callback(f, {"x"}, [] { return 3.0; });
  CallbackHandle throws = registry.callback(f, {"x"}, []() -> double { throw std::runtime_error("no"); });
  throws.reset();
  CHECK(value(registry, "c_total", {"x"}) == 3);
}

TEST_CASE("a callback takes the place of a series that only lingers, not of one in use", "[metric][lease]") {
  Registry registry(kOptions);
  Family& f = registry.family({.name = "g", .help = "h", .type = Type::gauge, .labels = {"l"}});
  auto gauge = std::make_unique<Lease<Gauge>>(registry.lease_gauge(f, {"x"}));
  CHECK_THROWS_AS(registry.callback(f, {"x"}, [] { return 1.0; }), std::invalid_argument);
  gauge.reset();
  const CallbackHandle handle = registry.callback(f, {"x"}, [] { return 1.0; });
  CHECK(value(registry, "g", {"x"}) == 1);
}

TEST_CASE("status counters of two configurations count together", "[metric][lease]") {
  Registry registry(kOptions);
  auto before = std::make_unique<StatusCounters>(registry, status_families(registry), "web", "/", kMethods);
  before->record({1, 200, 1, 0, 0});
  before->record({1, 404, 1, 0, 0});
  StatusCounters after(registry, status_families(registry), "web", "/", kMethods);
  after.record({1, 200, 1, 0, 0});
  before->record({1, 200, 1, 0, 0});
  before.reset();
  time_now += kGrace;
  CHECK(value(registry, "r_total", {"web", "/", "GET", "200"}) == 3);
  CHECK_FALSE(value(registry, "r_total", {"web", "/", "GET", "404"}));
  CHECK(series(registry, "d_seconds") == 1);
}

TEST_CASE("leases come and go on many threads while snapshots are taken: no count is lost", "[metric][lease]") {
  Registry registry({.grace = std::chrono::nanoseconds(0), .now = &test_now});
  Family& f = counters(registry);
  const Lease<Counter> kept = registry.lease_counter(f, {"kept"});
  constexpr unsigned kThreads = 4;
  constexpr unsigned kRounds = 5'000;
  std::atomic<unsigned> wrong{0};
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      const ShardId shard = t % 2 == 0 ? ShardAllocator::acquire() : 0;
      fiberd::thread_locals()->shard = shard;
      for (unsigned i = 0; i < kRounds; ++i) {
        const Lease<Counter> shared = registry.lease_counter(f, {"kept"});
        const Lease<Counter> own = registry.lease_counter(f, {"own" + std::to_string(t) + std::to_string(i % 7)});
        shared->add();
        own->add(3);
        if (own->value() != 3) wrong.fetch_add(1);
      }
      fiberd::thread_locals()->shard = 0;
      ShardAllocator::release(shard);
    });
  for (int i = 0; i < 200; ++i) (void)registry.snapshot();
  for (auto& thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(kept->value() == kThreads * kRounds);
}
