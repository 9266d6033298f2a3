#include "core/metric/registry.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <set>
#include <stdexcept>
#include <thread>

#include "core/base/utf8.hpp"
#include "core/metric/status_counters.hpp"
#include "tests/unit/metric/series.hpp"

using namespace fiberd::metric;
using fiberd::test::kMethods;
using fiberd::test::status_families;
using fiberd::test::value;

namespace {

const FamilySnapshot* find(const std::vector<FamilySnapshot>& all, std::string_view name) {
  for (const auto& family : all)
    if (family.spec.name == name) return &family;
  return nullptr;
}

}  // namespace

TEST_CASE("one series per label values", "[metric]") {
  Registry registry;
  Family& f = registry.family({.name = "requests_total", .help = "h", .labels = {"a", "b"}});
  CHECK(&registry.family({.name = "requests_total", .help = "h", .labels = {"a", "b"}}) == &f);
  Counter& c = registry.counter(f, {"x", "y"});
  CHECK(&registry.counter(f, {"x", "y"}) == &c);
  CHECK(&registry.counter(f, {"y", "x"}) != &c);
  c.add(3);
  CHECK(value(registry, "requests_total", {"x", "y"}) == 3);
  CHECK(value(registry, "requests_total", {"y", "x"}) == 0);
}

TEST_CASE("misuse of the registry is refused", "[metric]") {
  Registry registry;
  Family& f = registry.family({.name = "a_total", .help = "h", .labels = {"l"}});
  CHECK_THROWS_AS(registry.gauge(f, {"x"}), std::invalid_argument);
  CHECK_THROWS_AS(registry.counter(f), std::invalid_argument);
  CHECK_THROWS_AS(registry.family({.name = "a_total", .help = "h"}), std::invalid_argument);
  CHECK_THROWS_AS(registry.family({.name = "1a", .help = "h"}), std::invalid_argument);
  CHECK_THROWS_AS(registry.family({.name = "", .help = "h"}), std::invalid_argument);
  CHECK_THROWS_AS(registry.family({.name = "b", .help = "h", .labels = {"le"}}), std::invalid_argument);
  CHECK_THROWS_AS(registry.family({.name = "b", .help = "h", .labels = {"x", "x"}}), std::invalid_argument);
  CHECK_THROWS_AS(registry.family({.name = "b", .help = "h", .type = Type::histogram, .bounds = {2, 2}}),
                  std::invalid_argument);
}

TEST_CASE("label values are bounded", "[metric]") {
  Registry registry;
  Family& f = registry.family({.name = "a_total", .help = "h", .labels = {"l"}, .max_series = 10});
  for (int i = 0; i < 100; ++i) registry.counter(f, {std::to_string(i)}).add();
  CHECK(value(registry, "a_total", {"9"}) == 1);
  CHECK_FALSE(value(registry, "a_total", {"10"}).has_value());
  CHECK(value(registry, "a_total", {"other"}) == 90);
  CHECK(value(registry, kSeriesRefused, {"a_total"}) == 90);
  Family& g = registry.family({.name = "b_total", .help = "h", .labels = {"l"}});
  const std::string longest(kMaxLabelValue, 'a');
  for (const std::string& bad : {longest + "\xff", std::string("\xff"), std::string("\xc0\x80"),
                                 std::string("\xed\xa0\x80"), std::string("\xf4\x90\x80\x80"), std::string("\xe2\x82")})
    registry.counter(g, {bad}).add();
  for (const std::string& good : {longest, std::string("\xe2\x82\xac"), std::string("\xf0\x9f\x98\x80"), std::string()})
    registry.counter(g, {good}).add();
  CHECK(value(registry, "b_total", {"other"}) == 6);
  CHECK(value(registry, "b_total", {longest}) == 1);
  CHECK(value(registry, "b_total", {""}) == 1);
}

TEST_CASE("long label values are shortened and stay apart", "[metric]") {
  Registry registry;
  Family& f = registry.family({.name = "a_total", .help = "h", .labels = {"route", "code"}});
  const std::string path(150, 'p');
  std::string wide = "/";
  for (int i = 0; i < 100; ++i) wide += "\xe2\x82\xac";
  const std::vector<std::string> routes{path + "/a", path + "/b", path + "/", wide, wide + "/"};
  for (const std::string& route : routes) registry.counter(f, {route, "200"}).add();
  registry.counter(f, {routes[0], "200"}).add();
  const CallbackHandle handle = registry.callback(f, {path + "/called", "200"}, [] { return 7.0; });
  CHECK_THROWS_AS(registry.callback(f, {routes[1], "200"}, [] { return 7.0; }), std::invalid_argument);
  const std::vector<FamilySnapshot> all = registry.snapshot();
  const auto family = std::find_if(all.begin(), all.end(), [](const auto& s) { return s.spec.name == "a_total"; });
  REQUIRE(family != all.end());
  std::set<std::string> shown;
  double sum = 0;
  for (const Sample& sample : family->samples) {
    CHECK(sample.labels[0].size() <= kMaxLabelValue);
    CHECK(fiberd::is_utf8(sample.labels[0]));
    CHECK(sample.labels[0] != "other");
    shown.insert(sample.labels[0]);
    sum += sample.value;
  }
  CHECK(shown.size() == routes.size() + 1);
  CHECK(sum == 6 + 7);
  // The same in every process: dashboards keep it.
  CHECK(shown.contains(std::string(111, 'p') + "~5152f1e8100f83ac"));
  CHECK_FALSE(value(registry, kSeriesRefused, {"a_total"}).has_value());
}

TEST_CASE("gauges go both ways", "[metric]") {
  Registry registry;
  Gauge& g = registry.gauge(registry.family({.name = "g", .help = "h", .type = Type::gauge}));
  g.add(5);
  std::thread([&] {
    fiberd::thread_locals()->shard = 9;
    g.sub(7);
  }).join();
  CHECK(g.value() == -2);
  CHECK(value(registry, "g", {}) == -2);
  Gauge& s = registry.gauge(registry.family({.name = "s", .help = "h", .type = Type::gauge}));
  s.set(4);
  s.set(-1);
  CHECK(s.value() == -1);
}

TEST_CASE("histograms", "[metric]") {
  Registry registry;
  Family& f =
      registry.family({.name = "h_bytes", .help = "h", .type = Type::histogram, .bounds = {10, 100}, .divisor = 1});
  Histogram& h = registry.histogram(f);
  for (const std::uint64_t v : {0U, 10U, 11U, 100U, 101U, 1'000'000U}) h.observe(v);
  const auto all = registry.snapshot();
  const Sample& sample = find(all, "h_bytes")->samples.at(0);
  CHECK(sample.buckets == std::vector<std::uint64_t>{2, 2, 2});
  CHECK(sample.count == 6);
  CHECK(sample.sum == 1'000'222);
}

TEST_CASE("a callback is read at each snapshot until its handle goes", "[metric]") {
  Registry registry;
  Family& f = registry.family({.name = "c", .help = "h", .type = Type::gauge, .labels = {"l"}});
  double source = 1.5;
  {
    CallbackHandle handle = registry.callback(f, {"x"}, [&] { return source; });
    CHECK(value(registry, "c", {"x"}) == 1.5);
    source = 2.5;
    const CallbackHandle moved = std::move(handle);
    CHECK(value(registry, "c", {"x"}) == 2.5);
  }
  CHECK_FALSE(value(registry, "c", {"x"}).has_value());
}

TEST_CASE("status counters", "[metric]") {
  Registry registry;
  StatusCounters status(registry, status_families(registry), "web", "/*", kMethods);
  for (const unsigned code : {200U, 200U, 404U, 99U, 299U, 600U, 0U}) status.record({1, code, 1'000'000, 0, 0});
  for (const std::size_t method : {0U, 2U, 3U, 15U, 16U, 1'000'000U}) status.record({method, 200, 1'000'000, 0, 0});
  CHECK(value(registry, "r_total", {"web", "/*", "GET", "200"}) == 2);
  CHECK(value(registry, "r_total", {"web", "/*", "GET", "404"}) == 1);
  CHECK(value(registry, "r_total", {"web", "/*", "GET", "other"}) == 4);
  CHECK(value(registry, "r_total", {"web", "/*", "POST", "200"}) == 1);
  CHECK(value(registry, "r_total", {"web", "/*", "other", "200"}) == 5);
  CHECK_FALSE(value(registry, "r_total", {"web", "/*", "GET", "500"}).has_value());
  const auto all = registry.snapshot();
  const FamilySnapshot& durations = *find(all, "d_seconds");
  REQUIRE(durations.samples.size() == 5);
  CHECK(durations.samples.at(2).labels == std::vector<std::string>{"web", "/*", "GET", "other"});
  CHECK(durations.samples.at(2).count == 4);
  CHECK(durations.samples.at(2).sum == Approx(0.004));
}

TEST_CASE("StatusCounters count bytes both ways and who is on the way, on owned shards and on the shared one",
          "[metric]") {
  Registry registry;
  // The first segment of cells is full: these lie in later ones.
  Family& many = registry.family({.name = "many_total", .help = "h", .labels = {"n"}});
  for (int i = 0; i < 700; ++i) registry.counter(many, {std::to_string(i)}).add();
  StatusCounters status(registry, status_families(registry), "web", "/", kMethods);
  const ShardId owned = ShardAllocator::acquire();
  for (const ShardId shard : {ShardId{0}, owned}) {
    fiberd::thread_locals()->shard = shard;
    for (int i = 0; i < 3; ++i) status.begin();
    status.record({1, 200, 1'000, 100, 3'000});
    status.record({1, 500, 1'000, 20, 400});
  }
  fiberd::thread_locals()->shard = 0;
  ShardAllocator::release(owned);
  CHECK(value(registry, "in_total", {"web", "/"}) == 240);
  CHECK(value(registry, "out_total", {"web", "/"}) == 6800);
  CHECK(value(registry, "in_flight", {"web", "/"}) == 2);
  CHECK(value(registry, "r_total", {"web", "/", "GET", "200"}) == 2);
  for (int i = 0; i < 700; ++i) REQUIRE(value(registry, "many_total", {std::to_string(i)}) == 1);
}

TEST_CASE("snapshots and registrations while increments run", "[metric]") {
  Registry registry;
  StatusCounters status(registry, status_families(registry), "web", "/", kMethods);
  constexpr unsigned kThreads = 8;
  constexpr unsigned kRounds = 20'000;
  std::vector<std::thread> threads;
  for (unsigned t = 0; t < kThreads; ++t)
    threads.emplace_back([&, t] {
      const ShardId shard = t % 2 == 0 ? ShardAllocator::acquire() : 0;
      fiberd::thread_locals()->shard = shard;
      for (unsigned i = 0; i < kRounds; ++i) status.record({i % 3, 200 + i % 8, i, 0, 0});
      fiberd::thread_locals()->shard = 0;
      ShardAllocator::release(shard);
    });
  std::uint64_t last = 0;
  bool grows = true;
  for (int i = 0; i < 100; ++i) {
    const auto all = registry.snapshot();
    std::uint64_t count = 0;
    for (const Sample& s : find(all, "d_seconds")->samples) count += s.count;
    grows = grows && count >= last;
    last = count;
  }
  for (auto& thread : threads) thread.join();
  CHECK(grows);
  for (unsigned code = 200; code < 208; ++code) {
    double all = 0;
    for (const std::string_view method : kMethods)
      all += value(registry, "r_total", {"web", "/", std::string(method), std::to_string(code)}).value_or(0);
    CHECK(all == kThreads * kRounds / 8);
  }
}

TEST_CASE("a family that counts another's observations has its series, and none of its own", "[metric]") {
  Registry registry;
  const FamilySpec counter{.name = "a_total", .help = "h", .labels = {"l"}, .counts_of = "b_seconds"};
  Family& counts = registry.family(counter);
  Family& timed = registry.family({.name = "b_seconds", .help = "h", .type = Type::histogram, .labels = {"l"}});
  Histogram& histogram = registry.histogram(timed, {"x"});
  CHECK(value(registry, "a_total", {"x"}) == 0);
  for (int i = 0; i < 3; ++i) histogram.observe(1);
  CHECK(value(registry, "a_total", {"x"}) == 3);
  CHECK_THROWS_AS(registry.counter(counts, {"x"}), std::invalid_argument);
  CHECK_THROWS_AS(registry.family({.name = "a_total", .help = "h", .labels = {"l"}}), std::invalid_argument);
}
