#include "core/metric/exemplars.hpp"

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/metric/registry.hpp"

using namespace fiberd::metric;

namespace {

Exemplar exemplar(std::uint8_t n) {
  Exemplar e;
  e.trace_id.fill(n);
  e.span_id.fill(n);
  return e;
}

const Sample& only(const std::vector<FamilySnapshot>& all, std::string_view name) {
  const auto found = std::ranges::find_if(all, [&](const FamilySnapshot& f) { return f.spec.name == name; });
  REQUIRE(found != all.end());
  REQUIRE(found->samples.size() == 1);
  return found->samples.front();
}

}  // namespace

TEST_CASE("a histogram keeps the newest exemplar of each bucket", "[metric][exemplar]") {
  Registry registry;
  Family& f = registry.family({.name = "d_seconds", .help = "h", .type = Type::histogram, .bounds = {10, 100}});
  Histogram& h = registry.histogram(f);
  h.observe(5);
  CHECK(h.exemplars() == nullptr);  // and so no memory
  CHECK(only(registry.snapshot(), "d_seconds").exemplars.empty());
  h.observe(7, exemplar(1));
  h.observe(8, exemplar(2));
  h.observe(1'000, exemplar(3));
  const auto all = registry.snapshot();
  const Sample& sample = only(all, "d_seconds");
  CHECK(sample.buckets == std::vector<std::uint64_t>{3, 0, 1});
  REQUIRE(sample.exemplars.size() == 2);
  CHECK(sample.exemplars[0].bucket == 0);
  CHECK(sample.exemplars[0].exemplar == exemplar(2));
  CHECK(sample.exemplars[0].value == Approx(8e-9));
  CHECK(sample.exemplars[1].bucket == 2);
  CHECK(sample.exemplars[1].exemplar == exemplar(3));
  const double now = std::chrono::duration<double>(fiberd::wall_now().time_since_epoch()).count();
  CHECK(std::abs(now - sample.exemplars[0].time) < 3600);
}

TEST_CASE("a leased histogram takes its exemplars with it", "[metric][exemplar]") {
  Registry registry({.grace = std::chrono::nanoseconds(0)});
  Family& f = registry.family({.name = "d_seconds", .help = "h", .type = Type::histogram});
  {
    const Lease<Histogram> lease = registry.lease_histogram(f);
    lease->observe(1, exemplar(1));
  }
  (void)registry.snapshot();
  const Lease<Histogram> again = registry.lease_histogram(f);
  CHECK(only(registry.snapshot(), "d_seconds").exemplars.empty());
}

TEST_CASE("exemplars are whole, whoever writes and reads at the same time", "[metric][exemplar]") {
  Registry registry;
  Family& f = registry.family({.name = "d_seconds", .help = "h", .type = Type::histogram, .bounds = {10}});
  Histogram& h = registry.histogram(f);
  constexpr int kRounds = 20'000;
  std::vector<std::thread> writers;
  for (std::uint8_t t = 1; t <= 4; ++t)
    writers.emplace_back([&h, t] {
      for (int i = 0; i < kRounds; ++i) h.observe(t, exemplar(t));
    });
  bool whole = true;
  for (int i = 0; i < 500; ++i) {
    const auto all = registry.snapshot();
    for (const SampleExemplar& e : only(all, "d_seconds").exemplars)
      whole = whole && e.exemplar == exemplar(e.exemplar.span_id[0]) &&
              e.value == Approx(static_cast<double>(e.exemplar.span_id[0]) * 1e-9);
  }
  for (std::thread& t : writers) t.join();
  CHECK(whole);
  CHECK(only(registry.snapshot(), "d_seconds").exemplars.size() == 1);
  CHECK(h.sum() == kRounds * (1 + 2 + 3 + 4));
}
