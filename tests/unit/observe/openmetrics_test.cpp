#include "core/observe/openmetrics.hpp"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "core/observe/catalogue.hpp"
#include "core/observe/exporter.hpp"

using namespace fiberd;
using metric::Type;

namespace {

bool has_line(const std::string& page, const std::string& line) {
  INFO(line);
  const bool found = page.find(line) != std::string::npos;
  CHECK(found);
  return found;
}

std::string page_of(const metric::Registry& registry, std::vector<prometheus::MetricFamily> families) {
  return observe::render_openmetrics(families, registry.snapshot());
}

/// What a Python client's strict parser says of it; nothing when it is not installed.
std::string verdict_of_parser(const std::string& page) {
  char path[] = "/tmp/fiberd-openmetrics-XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  FILE* file = fdopen(fd, "w");
  REQUIRE(file != nullptr);
  CHECK(std::fwrite(page.data(), 1, page.size(), file) == page.size());
  std::fclose(file);
  const std::string command =
      "/usr/bin/python3 -c 'import sys\ntry:\n from prometheus_client.openmetrics import parser\nexcept ImportError:\n "
      "sys.exit()\nprint(len(list(parser.text_string_to_metric_families(open(sys.argv[1]).read()))), \"families\")' " +
      std::string(path) + " 2>&1";
  FILE* tool = popen(command.c_str(), "r");
  REQUIRE(tool != nullptr);
  std::string said;
  char buffer[512];
  while (std::fgets(buffer, sizeof buffer, tool) != nullptr) said += buffer;
  CHECK(pclose(tool) == 0);
  std::remove(path);
  return said;
}

}  // namespace

TEST_CASE("OpenMetrics: names, units, escapes and numbers", "[observe][openmetrics]") {
  metric::Registry registry;
  using prometheus::MetricType;
  prometheus::MetricFamily counter{"a_bytes_total", "Says \"a\\b\".", MetricType::Counter, {}};
  counter.metric.resize(2);
  counter.metric[0].label = {{"l", "x\"\\\ny"}, {"m", ""}};
  counter.metric[0].counter.value = 9'007'199'254'740'991.0;
  counter.metric[1].label = {{"l", "z"}, {"m", "1"}};
  counter.metric[1].counter.value = 0.125;
  prometheus::MetricFamily info{"b_info", "B.", MetricType::Gauge, {}};
  info.metric.resize(1);
  info.metric[0].label = {{"version", "1"}};
  info.metric[0].gauge.value = 1;
  prometheus::MetricFamily gauge{"c_seconds", "C.", MetricType::Gauge, {}};
  gauge.metric.resize(1);
  gauge.metric[0].gauge.value = -1.5e-9;
  CHECK(page_of(registry, {counter, info, gauge}) ==
        "# HELP a_bytes Says \\\"a\\\\b\\\".\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\n"
        "a_bytes_total{l=\"x\\\"\\\\\\ny\",m=\"\"} 9007199254740991\n"
        "a_bytes_total{l=\"z\",m=\"1\"} 0.125\n"
        "# HELP b B.\n# TYPE b info\nb_info{version=\"1\"} 1\n"
        "# HELP c_seconds C.\n# TYPE c_seconds gauge\n# UNIT c_seconds seconds\nc_seconds -1.5e-09\n"
        "# EOF\n");
  CHECK(page_of(registry, {}) == "# EOF\n");
}

TEST_CASE("OpenMetrics: what a registry counts, since when, with exemplars", "[observe][openmetrics]") {
  metric::Registry registry;
  const observe::Exporter exporter(registry, {}, "1.2.3");
  using Format = observe::Exporter::Format;
  metric::Histogram& histogram = registry.histogram(
      observe::register_metric(registry, "fiberd_http_request_duration_seconds"), {"web", "/", "GET", "200"});
  metric::Exemplar exemplar;
  exemplar.trace_id = {0x0a, 0xf7, 0x65, 0x19, 0x16, 0xcd, 0x43, 0xdd, 0x84, 0x48, 0xeb, 0x21, 0x1c, 0x80, 0x31, 0x9c};
  histogram.observe(200'000, exemplar);
  exemplar.span_id = {0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31};
  histogram.observe(20'000'000'000, exemplar);
  registry.gauge(observe::register_metric(registry, "fiberd_listener_connections"), {"web"}).add();
  const std::string page = exporter.render(Format::openmetrics);
  const std::string labels = "{listener=\"web\",route=\"/\",method=\"GET\",code=\"200\"";
  has_line(page, "\n# TYPE fiberd_http_requests counter\nfiberd_http_requests_total" + labels + "} 2\n");
  has_line(page, "\nfiberd_http_requests_created" + labels + "} 1");
  has_line(page, "\n# UNIT fiberd_http_request_duration_seconds seconds\n");
  has_line(page, "_bucket" + labels + ",le=\"0.0001\"} 0\n");
  has_line(page, "_bucket" + labels + ",le=\"0.00025\"} 1 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"} 0.0002 1");
  has_line(page, "_bucket" + labels + ",le=\"1.0\"} 1\n");
  has_line(page, "_bucket" + labels + ",le=\"+Inf\"} 2 # {trace_id=\"0af7651916cd43dd8448eb211c80319c\"," +
                     "span_id=\"b7ad6b7169203331\"} 20 1");
  has_line(page, "\nfiberd_http_request_duration_seconds_count" + labels + "} 2\n");
  has_line(page, "\nfiberd_http_request_duration_seconds_created" + labels + "} 1");
  has_line(page, "\n# TYPE fiberd_build info\nfiberd_build_info{version=\"1.2.3\",");
  CHECK(page.ends_with("\n# EOF\n"));
  // What began with the process says so once, and a gauge has no beginning.
  CHECK(page.find("fiberd_bugs_created") == std::string::npos);
  CHECK(page.find("fiberd_listener_connections_created") == std::string::npos);
  // The older format knows none of it.
  const std::string text = exporter.render(Format::text);
  CHECK(text.find("{trace_id") == std::string::npos);
  CHECK(text.find("_created") == std::string::npos);
  CHECK(text.find("# EOF") == std::string::npos);
  const std::string said = verdict_of_parser(page);
  if (said.empty())
    WARN("not read by a parser: python3-prometheus-client is not installed");
  else
    CHECK(said == std::to_string(exporter.Collect().size()) + " families\n");
}

TEST_CASE("OpenMetrics is for who asks for its version", "[observe][openmetrics]") {
  for (const char* const accept :
       {"application/openmetrics-text", "application/openmetrics-text; version=1.0.0",
        "application/openmetrics-text;version=\"1.0.0\";q=0.5",
        "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;"
        "version=0.0.4;q=0.5,*/*;q=0.1",
        "application/openmetrics-text;version=0.0.1,application/openmetrics-text;version=1.0.0",
        "Application/OpenMetrics-Text; Version=\"1.0.0\""}) {
    INFO(accept);
    CHECK(observe::accepts_version_1(accept));
  }
  for (const char* const accept : {"", ",,", "text/plain", "application/openmetrics-text;version=0.0.1",
                                   "application/openmetrics-text;version=", "version=1.0.0"}) {
    INFO(accept);
    CHECK_FALSE(observe::accepts_version_1(accept));
  }
}
