#include "daemon/services/aggregate/aggregator.hpp"

#include <catch2/catch.hpp>
#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/metric/registry.hpp"
#include "tests/support/allocations.hpp"

using namespace fiberd;
using namespace fiberd::daemon::aggregate;
using namespace std::chrono_literals;

namespace {

/// An aggregator whose counters can be read.
struct Bench {
  explicit Bench(AggregatorOptions options = defaults()) {
    metric::Family& lines = registry.family({.name = "lines", .help = "l", .labels = {"type"}});
    metric::Family& refused = registry.family({.name = "refused", .help = "r", .labels = {"reason"}});
    AggregatorMetrics metrics;
    for (std::size_t i = 0; i < metrics.lines.size(); ++i)
      metrics.lines[i] = &registry.counter(lines, {to_string(static_cast<StatsdType>(i))});
    for (std::size_t i = 0; i < metrics.refused.size(); ++i)
      metrics.refused[i] = &registry.counter(refused, {to_string(static_cast<Refusal>(i))});
    metrics.series = &registry.gauge(registry.family({.name = "series", .help = "s", .type = metric::Type::gauge}));
    metrics.expired = &registry.counter(registry.family({.name = "expired", .help = "e"}));
    counters = metrics;
    aggregator = std::make_unique<Aggregator>(std::move(options), metrics);
  }
  static AggregatorOptions defaults() {
    return {.listener = "stats", .percentiles = {{"0.5", 0.5}, {"0.99", 0.99}}, .keep_distributions = true};
  }
  std::uint64_t lines(StatsdType type) const { return counters.lines[static_cast<std::size_t>(type)]->value(); }
  std::uint64_t refused(Refusal reason) const { return counters.refused[static_cast<std::size_t>(reason)]->value(); }
  std::uint64_t all_refused() const {
    std::uint64_t n = 0;
    for (const auto* c : counters.refused) n += c->value();
    return n;
  }
  ViewPointer collect() { return aggregator->collect(10s); }

  metric::Registry registry;
  AggregatorMetrics counters;
  std::unique_ptr<Aggregator> aggregator;
};

std::vector<std::string> lines_of(const std::vector<std::string>& pieces) {
  std::vector<std::string> lines;
  for (const std::string& piece : pieces)
    for (std::size_t at = 0; at < piece.size();) {
      const std::size_t end = piece.find('\n', at);
      lines.push_back(piece.substr(at, end - at));
      at = end + 1;
    }
  std::sort(lines.begin(), lines.end());
  return lines;
}

}  // namespace

TEST_CASE("counters, gauges, timers and sets", "[daemon][aggregate]") {
  Bench b;
  b.aggregator->add("hits:1|c\nhits:2|c|@0.5\r\n\nhits:1|c|#shop:berlin,env:prod\nhits:4|c|#env:prod,shop:berlin\n");
  b.aggregator->add("temp:20|g\ntemp:+5:-2|g\ncold:-3|g\ncold:0|g\ncold:-7|g\n");
  b.aggregator->add("users:ann|s\nusers:bob|s\nusers:ann|s");
  for (int i = 1; i <= 100; ++i) b.aggregator->add("time:" + std::to_string(i) + "|ms\n");
  b.aggregator->add("time:100:100|h|@0.1\n");
  ViewPointer view = b.collect();
  CHECK(view->prometheus ==
        "# HELP cold StatsD gauge cold\n# TYPE cold gauge\ncold -7\n"
        "# HELP hits_total StatsD counter hits\n# TYPE hits_total counter\nhits_total 5\n"
        "hits_total{env=\"prod\",shop=\"berlin\"} 5\n"
        "# HELP temp StatsD gauge temp\n# TYPE temp gauge\ntemp 23\n"
        "# HELP time StatsD timer time; quantiles are those of the last interval\n# TYPE time summary\n"
        "time{quantile=\"0.5\"} " +
            view->prometheus.substr(
                view->prometheus.find("0.5\"} ") + 6,
                view->prometheus.find("\ntime{quantile=\"0.99") - view->prometheus.find("0.5\"} ") - 6) +
            "\ntime{quantile=\"0.99\"} 100\ntime_sum 7050\ntime_count 120\n"
            "# HELP users StatsD set users; distinct members in the last interval\n# TYPE users gauge\nusers 2\n");
  REQUIRE(view->rows.size() == 6);
  CHECK(view->rows[4].quantiles[0] == Approx(60).epsilon(0.011));
  CHECK(view->json.find("{\"name\":\"hits\",\"type\":\"counter\",\"tags\":{\"env\":\"prod\",\"shop\":\"berlin\"},"
                        "\"total\":5,\"delta\":5}") != std::string::npos);
  CHECK(view->json.find("\"type\":\"set\",\"tags\":{},\"members\":2}]}") != std::string::npos);
  const std::vector<std::string> sent = lines_of(render_statsd(*view, 1432));
  for (const char* const line : {"hits:5|c", "hits:5|c|#env:prod,shop:berlin", "temp:23|g", "cold:0|g", "cold:-7|g",
                                 "users:ann|s", "users:bob|s"})
    CHECK(std::count(sent.begin(), sent.end(), line) == 1);
  CHECK(b.lines(StatsdType::counter) == 4);
  CHECK(b.lines(StatsdType::gauge) == 5);
  CHECK(b.lines(StatsdType::timer) == 100);
  CHECK(b.lines(StatsdType::histogram) == 1);
  CHECK(b.lines(StatsdType::set) == 3);
  CHECK(b.all_refused() == 0);
  CHECK(b.counters.series->value() == 6);

  // The next interval: totals go on, what belongs to the interval begins anew.
  b.aggregator->add("hits:1|c\n");
  view = b.collect();
  CHECK(view->prometheus.find("\nhits_total 6\n") != std::string::npos);
  CHECK(view->prometheus.find("\ntime{quantile=\"0.5\"} NaN\n") != std::string::npos);
  CHECK(view->prometheus.find("\ntime_count 120\n") != std::string::npos);
  CHECK(view->prometheus.find("\nusers 0\n") != std::string::npos);
  CHECK(view->prometheus.find("\ntemp 23\n") != std::string::npos);
  CHECK(view->json.find("\"quantiles\":{\"0.5\":null,\"0.99\":null}") != std::string::npos);
  CHECK(render_statsd(*view, 1432) == std::vector<std::string>{"hits:1|c\n"});
}

TEST_CASE("what is sent to a StatsD upstream is what came, within the sketch's error", "[daemon][aggregate]") {
  Bench near;
  for (int i = 0; i < 20'000; ++i)
    near.aggregator->add("t:" + std::to_string(1 + i * 7919 % 1000) +
                         "|ms|#a:b\nn:1.5|c\nu:" + std::to_string(i % 100) + "|s\n");
  near.aggregator->add("t:3|ms|@0.000001|#a:b\nt:3|ms|@0.000001|#a:b\n");
  const ViewPointer sent = near.collect();
  const std::vector<std::string> pieces = render_statsd(*sent, 1432);
  Bench far;
  for (const std::string& piece : pieces) {
    CHECK(piece.size() <= 1432);
    far.aggregator->add(piece);
  }
  CHECK(far.all_refused() == 0);
  const ViewPointer got = far.collect();
  REQUIRE(got->rows.size() == 3);
  CHECK(got->rows[0].total == 30'000);
  CHECK(got->rows[1].count == Approx(sent->rows[1].count).epsilon(1e-9));
  CHECK(got->rows[1].total == Approx(sent->rows[1].total).epsilon(0.01));
  CHECK(got->rows[1].quantiles[0] == Approx(sent->rows[1].quantiles[0]).epsilon(0.02));
  CHECK(got->rows[2].total == 100);
}

TEST_CASE("what is refused is counted, each line once", "[daemon][aggregate]") {
  AggregatorOptions options = Bench::defaults();
  options.series = 5;
  options.set_members = 3;
  options.line_size = 40;
  Bench b(options);
  b.aggregator->add("bad name:1|c\nx:|c\nx:1|q\nx:1|c|@2\nx:1|c|#\nx:1|c|y\n" + std::string(41, 'n') + "\n");
  b.aggregator->add("x:1|c|#a-b:1,a.b:2\nx:1|ms|#quantile:1\n");  // one label of two tags, a label of Prometheus'
  for (const Refusal r :
       {Refusal::name, Refusal::value, Refusal::type, Refusal::rate, Refusal::section, Refusal::length})
    CHECK(b.refused(r) == 1);
  CHECK(b.refused(Refusal::tags) == 3);
  CHECK(b.aggregator->series() == 0);
  b.aggregator->add("a.b:1|c\na_b:1|c\na_b_total:1|g\nt:1|ms\nt_sum:1|g\n");
  CHECK(b.refused(Refusal::name_clash) == 3);
  CHECK(b.aggregator->series() == 2);
  b.aggregator->add("s:1|s\ns:2|s\nr:3|s\nr:4|s\ns:1|s\n");
  CHECK(b.refused(Refusal::set_members) == 1);
  b.aggregator->add("five:1|g\nsix:1|g\nsix:1|c\nfive:2|g\n");
  CHECK(b.refused(Refusal::series) == 2);
  CHECK(b.aggregator->series() == 5);
  ViewPointer view = b.collect();
  CHECK(view->prometheus.find("five 2\n") != std::string::npos);
  CHECK(view->prometheus.find("six") == std::string::npos);
  // The members' room is of one interval.
  b.aggregator->add("s:5|s\ns:6|s\nr:7|s\n");
  CHECK(b.refused(Refusal::set_members) == 1);
  view = b.collect();
  CHECK(view->prometheus.find("\ns 2\n") != std::string::npos);
}

TEST_CASE("series without lines are forgotten, and their room and names are free", "[daemon][aggregate]") {
  AggregatorOptions options = Bench::defaults();
  options.series = 2;
  options.expire_intervals = 2;
  Bench b(options);
  b.aggregator->add("a.b:1|c\nkept:1|g\n");
  (void)b.collect();
  for (int i = 0; i < 2; ++i) {
    b.aggregator->add("kept:1|g\n");
    (void)b.collect();
  }
  CHECK(b.aggregator->series() == 1);
  CHECK(b.counters.expired->value() == 1);
  CHECK(b.counters.series->value() == 1);
  b.aggregator->add("a_b:7|c\n");
  CHECK(b.all_refused() == 0);
  CHECK(b.collect()->prometheus.find("\na_b_total 7\n") != std::string::npos);
}

TEST_CASE("labels are escaped; Prometheus' names", "[daemon][aggregate]") {
  CHECK(prometheus_name("5xx.a-b/c", Kind::gauge) == "_5xx_a_b_c");
  CHECK(prometheus_name("a.total", Kind::counter) == "a_total");
  CHECK(prometheus_name("a.total", Kind::gauge) == "a_total");
  CHECK(prometheus_labels("") == "");
  CHECK(prometheus_labels("a:\"x\\y\",b,c.d:1:2") == "a=\"\\\"x\\\\y\\\"\",b=\"true\",c_d=\"1:2\"");
  CHECK(prometheus_labels("__a:1") == std::nullopt);
  CHECK(prometheus_labels("quantile:1") == std::nullopt);
  CHECK(prometheus_labels("a:1,a:2") == std::nullopt);
}

TEST_CASE("two spellings of one series' tags: the second is refused, and no page has a series twice",
          "[daemon][aggregate]") {
  AggregatorOptions options = Bench::defaults();
  options.expire_intervals = 2;
  Bench b(options);
  // Each of the second column would be the series of the first.
  const std::pair<const char*, const char*> spellings[] = {
      {"a:1|g|#a.b:1", "a:2|g|#a_b:1"},
      {"b:1|c|#t", "b:2|c|#t:true"},
      {"c:1|ms|#x.y:1,x.z:2", "c:2|ms|#x_z:2,x.y:1"},  // also where the order of the tags is another
      {"d:1|g|#x.b:1,x_a:2", "d:2|g|#x.a:2,x.b:1"},
  };
  for (const auto& [first, second] : spellings)
    b.aggregator->add(std::string(first) + "\n" + second + "\n" + first + "\n");
  CHECK(b.refused(Refusal::name_clash) == 4);
  CHECK(b.all_refused() == 4);
  CHECK(b.aggregator->series() == 4);
  const auto page = [&] {
    std::map<std::string, int> samples;
    const std::string text = b.collect()->prometheus;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      const std::string line = text.substr(at, end - at);
      if (!line.starts_with('#')) ++samples[line.substr(0, line.rfind(' '))];
      at = end + 1;
    }
    return samples;
  };
  std::map<std::string, int> samples = page();
  for (const auto& [sample, times] : samples) {
    INFO(sample);
    CHECK(times == 1);
  }
  CHECK(samples.contains("a{a_b=\"1\"}"));
  CHECK(samples.contains("b_total{t=\"true\"}"));
  CHECK(samples.contains("c_sum{x_y=\"1\",x_z=\"2\"}"));
  CHECK(samples.contains("d{x_a=\"2\",x_b=\"1\"}"));
  // Other values are other series, and when one has gone its labels are free.
  b.aggregator->add("a:3|g|#a_b:2\n");
  for (int i = 0; i < 3; ++i) (void)page();
  CHECK(b.aggregator->series() == 0);
  for (const auto& [first, second] : spellings) b.aggregator->add(std::string(second) + "\n");
  CHECK(b.all_refused() == 4);
  CHECK(b.aggregator->series() == 4);
}

TEST_CASE("names are claimed as long as somebody has them", "[daemon][aggregate]") {
  PrometheusNames names;
  auto timer = names.claim("a", Kind::timer);
  REQUIRE(timer != nullptr);
  CHECK(names.claim("a", Kind::timer) == timer);
  CHECK(names.claim("a_sum", Kind::gauge) == nullptr);
  CHECK(names.claim("a.count", Kind::set) == nullptr);
  CHECK(names.claim("a", Kind::gauge) == nullptr);
  auto counter = names.claim("a", Kind::counter);  // a_total
  CHECK(counter != nullptr);
  timer.reset();
  CHECK(names.claim("a_sum", Kind::gauge) != nullptr);
  timer = names.claim("a", Kind::timer);
  CHECK(timer != nullptr);
}

TEST_CASE("threads add, one collects: nothing is lost", "[daemon][aggregate]") {
  Bench b;
  static constexpr int kThreads = 4;
  static constexpr int kBatches = 300;
  std::vector<std::thread> threads;
  for (int t = 0; t < kThreads; ++t)
    threads.emplace_back([&b, t] {
      for (int i = 0; i < kBatches; ++i) {
        std::string batch;
        for (int k = 0; k < 50; ++k)
          batch += "c:1|c|#k:" + std::to_string((k + t) % 10) + "\nt:5|ms\nu:" + std::to_string(i) + "|s\n";
        b.aggregator->add(batch);
      }
    });
  double counted = 0;
  double timed = 0;
  for (int i = 0; i < 20; ++i) {
    const ViewPointer view = b.collect();
    for (const Row& row : view->rows) (row.info->labels.family().kind() == Kind::timer ? timed : counted) += row.delta;
  }
  for (std::thread& t : threads) t.join();
  const ViewPointer last = b.collect();
  double total = 0;
  for (const Row& row : last->rows) {
    const Kind kind = row.info->labels.family().kind();
    if (kind == Kind::set) continue;
    (kind == Kind::timer ? timed : counted) += row.delta;
    if (kind == Kind::counter) total += row.total;
  }
  CHECK(total == kThreads * kBatches * 50);
  CHECK(counted == total);
  CHECK(timed == total);
  CHECK(b.all_refused() == 0);
}

TEST_CASE("lines of series that are there allocate nothing", "[daemon][aggregate]") {
  Bench b;
  std::string lines;
  for (int i = 0; i < 200; ++i)
    lines += "a.counter:1|c|#zone:b,app:x\na.gauge:+1|g\na.timer:5:6|ms|@0.5\na.set:m" + std::to_string(i % 5) +
             "|s\nnot a line\n";
  b.aggregator->add(lines);
  const std::uint64_t before = test::allocations();
  b.aggregator->add(lines);
  CHECK(test::allocations() == before);
  CHECK(b.lines(StatsdType::set) == 400);
}
