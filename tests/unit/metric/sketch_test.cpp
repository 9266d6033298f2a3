#include "core/metric/sketch.hpp"

#include <algorithm>
#include <array>
#include <catch2/catch.hpp>
#include <cmath>
#include <functional>
#include <vector>

#include "core/base/random.hpp"

using namespace fiberd;
using metric::Sketch;

namespace {

constexpr std::array<double, 9> kQuantiles{0, 0.01, 0.1, 0.25, 0.5, 0.9, 0.99, 0.999, 1};

double uniform(Random& random) { return (static_cast<double>(random.next() >> 11U) + 0.5) * 0x1p-53; }

struct Distribution {
  const char* name;
  std::function<double(Random&)> draw;
};

const std::vector<Distribution>& distributions() {
  static const std::vector<Distribution> all{
      {"uniform", [](Random& r) { return 1 + 999 * uniform(r); }},
      {"exponential", [](Random& r) { return -std::log(uniform(r)); }},
      {"Pareto, whose tail has no variance", [](Random& r) { return std::pow(uniform(r), -1 / 1.5); }},
      {"log-normal",
       [](Random& r) { return std::exp(2 * std::sqrt(-2 * std::log(uniform(r))) * std::cos(2 * M_PI * uniform(r))); }},
      {"whole milliseconds", [](Random& r) { return std::floor(uniform(r) * 300); }},
      {"both signs", [](Random& r) { return 200 * uniform(r) - 100; }},
      {"all the same", [](Random&) { return 42.0; }},
  };
  return all;
}

/// What two sketches would show anybody.
std::vector<std::pair<double, double>> bins_of(const Sketch& s) {
  std::vector<std::pair<double, double>> bins;
  s.for_each([&](double value, double weight) { bins.emplace_back(value, weight); });
  return bins;
}

}  // namespace

TEST_CASE("sketch: every quantile within 1 % of the true one", "[metric][sketch]") {
  for (const Distribution& d : distributions()) {
    INFO(d.name);
    Random random(7);
    Sketch sketch;
    std::vector<double> all;
    for (int i = 0; i < 100'000; ++i) {
      all.push_back(d.draw(random));
      sketch.add(all.back());
    }
    std::sort(all.begin(), all.end());
    double worst = 0;
    for (const double q : kQuantiles) {
      const double truth = all[static_cast<std::size_t>(q * static_cast<double>(all.size() - 1))];
      const double error = std::abs(sketch.quantile(q) - truth);
      worst = std::max(worst, truth == 0 ? error : error / std::abs(truth));
    }
    CHECK(worst <= Sketch::kRelativeError * (1 + 1e-9));
    CHECK(sketch.count() == 100'000);
    CHECK(sketch.min() == all.front());
    CHECK(sketch.max() == all.back());
    CHECK(sketch.bins() <= Sketch::kMaxBins);
    double sum = 0;
    for (const double v : all) sum += v;
    CHECK(sketch.sum() == Approx(sum));
  }
}

TEST_CASE("sketch: merging is what adding would have been, in any order", "[metric][sketch]") {
  // The small bound makes bins be put together all the time.
  for (const std::size_t max_bins : {Sketch::kMaxBins, std::size_t{64}}) {
    for (const Distribution& d : distributions()) {
      INFO(d.name << " " << max_bins);
      Random random(11);
      std::vector<Sketch> parts(3, Sketch(0.01, max_bins));
      Sketch whole(0.01, max_bins);
      for (int i = 0; i < 30'000; ++i) {
        const double value = d.draw(random) * (i % 3 == 2 ? 1000 : 1);
        parts[static_cast<std::size_t>(i) % 3].add(value, 1 + i % 4);
        whole.add(value, 1 + i % 4);
      }
      Sketch left = parts[0];  // (a + b) + c
      left.merge(parts[1]);
      left.merge(parts[2]);
      Sketch bc = parts[1];  // a + (b + c)
      bc.merge(parts[2]);
      Sketch right = parts[0];
      right.merge(bc);
      Sketch backwards = parts[2];  // (c + b) + a
      backwards.merge(parts[1]);
      backwards.merge(parts[0]);
      for (const Sketch* merged : {&left, &right, &backwards}) {
        CHECK(bins_of(*merged) == bins_of(whole));
        CHECK(merged->count() == whole.count());
        CHECK(merged->min() == whole.min());
        CHECK(merged->max() == whole.max());
        CHECK(merged->sum() == Approx(whole.sum()));
      }
      CHECK(left.quantile(0.99) == whole.quantile(0.99));
    }
  }
}

TEST_CASE("sketch: with too few bins the high quantiles keep their guarantee", "[metric][sketch]") {
  Random random(3);
  Sketch sketch(0.01, 128);  // 128 bins span a factor of 13
  std::vector<double> all;
  for (int i = 0; i < 50'000; ++i) {
    all.push_back(std::pow(10, 6 * uniform(random)));
    sketch.add(all.back());
  }
  std::sort(all.begin(), all.end());
  CHECK(sketch.bins() <= 128);
  CHECK(sketch.count() == 50'000);
  for (const double q : {0.9, 0.99, 0.999}) {
    const double truth = all[static_cast<std::size_t>(q * static_cast<double>(all.size() - 1))];
    CHECK(std::abs(sketch.quantile(q) - truth) <= 0.0101 * truth);
  }
  CHECK(sketch.quantile(0.01) <= sketch.quantile(0.9));
}

TEST_CASE("sketch: weights, zero, extremes, nothing", "[metric][sketch]") {
  Sketch sketch;
  CHECK(std::isnan(sketch.quantile(0.5)));
  CHECK(std::isnan(sketch.min()));
  CHECK(sketch.bytes() == 0);
  sketch.add(1, 99);
  sketch.add(1000, 1);
  CHECK(sketch.count() == 100);
  CHECK(sketch.sum() == 1099);
  CHECK(sketch.quantile(0.5) == Approx(1).epsilon(0.01));
  CHECK(sketch.quantile(1) == Approx(1000).epsilon(0.01));
  CHECK(sketch.quantile(2) == sketch.quantile(1));
  CHECK(sketch.quantile(-1) == sketch.quantile(0));
  sketch.clear();
  CHECK(sketch.empty());
  CHECK(std::isnan(sketch.quantile(0.5)));
  for (const double v : {0.0, -0.0, 1e-308, 1e308, -1e308, 5e-324}) sketch.add(v);
  CHECK(sketch.min() == -1e308);
  CHECK(sketch.max() == 1e308);
  CHECK(sketch.quantile(0) == Approx(-1e308).epsilon(0.01));
  CHECK(sketch.quantile(0.5) == 0);
  CHECK(sketch.bins() == 3);
  Sketch same = sketch;
  same.merge(sketch);
  CHECK(same.count() == 12);
}
