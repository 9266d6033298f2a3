// /metrics as scrapers ask for it: in which format, how long, and what is counted as what.
#include <catch2/catch.hpp>
#include <string>

#include "tests/support/collector.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/decompress.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;

namespace {

constexpr const char* kScraped =
    "metrics: {address: \"127.0.0.1:0\"}\nlisteners:\n"
    "  - {name: web, address: \"127.0.0.1:0\", http: {limits: {connections: 77}, routes: [\n"
    "      {path: /, respond: {body: hi}}, {path: /bad, respond: {status: 500, body: no}}]}}\n"
    "  - {name: echo, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n";

/// As Prometheus 2.42 asks.
constexpr const char* kAsPrometheus =
    "Accept: application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1\r\n";

bool metrics_show(const std::string& page, const std::string& text) { return page.find(text) != std::string::npos; }

}  // namespace

TEST_CASE("/metrics is OpenMetrics to who asks for it, and compressed to who takes that", "[integration][metrics]") {
  Daemon daemon(kScraped);
  HttpClient client(daemon.port("metrics"));
  struct Row {
    std::string accept;
    bool openmetrics;
  };
  for (const Row& row :
       {Row{kAsPrometheus, true}, Row{"", false}, Row{"Accept: */*\r\n", false},
        Row{"Accept: application/openmetrics-text; version=1.0.0; charset=utf-8\r\n", true},
        Row{"Accept: application/openmetrics-text;version=0.0.1\r\n", false},
        Row{"Accept: application/json\r\nAccept: application/openmetrics-text;version=1.0.0\r\n", true},
        Row{"Accept: APPLICATION/OpenMetrics-Text;VERSION=\"1.0.0\"\r\n", true},
        Row{"Accept: text/plain;version=0.0.4\r\n", false},
        Row{"Accept: application/openmetrics-text;q=0.1,text/plain\r\n", false}}) {
    INFO(row.accept);
    const auto plain = client.ask(get_admin("/metrics", row.accept));
    REQUIRE(plain);
    CHECK(plain->status == 200);
    CHECK(plain->field("Content-Type") == (row.openmetrics
                                               ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                               : "text/plain; version=0.0.4; charset=utf-8"));
    CHECK(plain->field("Vary") == "Accept, Accept-Encoding");
    CHECK(plain->field("Content-Encoding").empty());
    CHECK(plain->body.ends_with("\n# EOF\n") == row.openmetrics);
    CHECK(metrics_show(plain->body, "# TYPE fiberd_bugs counter\n") == row.openmetrics);
    const auto gzip = client.ask(get_admin("/metrics", row.accept + "Accept-Encoding: gzip\r\n"));
    REQUIRE(gzip);
    CHECK(gzip->field("Content-Encoding") == "gzip");
    CHECK(gzip->field("Content-Type") == plain->field("Content-Type"));
    CHECK(gzip->body.size() * 3 < plain->body.size());
    CHECK(metrics_show(decompress("gzip", gzip->body), "\nfiberd_bugs_total 0\n"));
  }
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a strict reader of OpenMetrics takes the page of a daemon that serves, with exemplars, compressed or not",
          "[integration][metrics]") {
  if (run({"/usr/bin/python3", "-c", "import prometheus_client.openmetrics.parser"}).code != 0) {
    WARN("not read by a parser: python3-prometheus-client is not installed");
    return;
  }
  const Collector collector;
  Daemon daemon("tracing: {endpoint: \"" + collector.url() + "\", sample: {ratio: 1}}\n" + kScraped);
  HttpClient web(daemon.port("web"));
  for (const char* const path : {"/", "/", "/bad", "/none"}) REQUIRE(web.ask(get(path)));
  HttpClient echo(daemon.port("echo"));
  echo.send("x");
  REQUIRE(eventually(
      [&] { return daemon.metric("fiberd_tcp_received_bytes_total{listener=\"echo\"}").value_or(0) == 1.0; }));
  // Families are told once and samples stand with them, exemplars are short, _created is a time, and the end is there:
  // the parser throws else. What it leaves to its caller is asked here.
  static constexpr const char* kRead =
      "import sys\n"
      "from prometheus_client.openmetrics import parser\n"
      "families = list(parser.text_string_to_metric_families(sys.stdin.read()))\n"
      "samples = [s for f in families for s in f.samples]\n"
      "assert len({f.name for f in families}) == len(families)\n"
      "names = [(s.name, tuple(sorted(s.labels.items()))) for s in samples]\n"
      "assert len(set(names)) == len(names)\n"
      "created = [s for s in samples if s.name == 'fiberd_http_requests_created']\n"
      "assert len(created) == 3 and all(s.value > 1e9 for s in created), created\n"
      "exemplars = [s.exemplar for s in samples if s.exemplar]\n"
      "assert len(exemplars) >= 3, exemplars\n"
      "assert all(len(e.labels['trace_id']) == 32 and float(e.timestamp) > 1e9 for e in exemplars)\n"
      "print('read')\n";
  TemporaryDirectory directory;
  const std::string script = directory.write("read.py", kRead);
  HttpClient client(daemon.port("metrics"));
  for (const std::string coding : {"", "Accept-Encoding: gzip\r\n"}) {
    const auto answer = client.ask(get_admin("/metrics", kAsPrometheus + coding));
    REQUIRE(answer);
    const std::string page = coding.empty() ? answer->body : decompress("gzip", answer->body);
    const std::string file = directory.write("page", page);
    const Finished said = run({"/bin/sh", "-c", "exec /usr/bin/python3 " + script + " < " + file});
    INFO(said.errors);
    CHECK(said.output == "read\n");
  }
}

TEST_CASE("requests are counted by method and code, the daemon's own apart, refusals once they happen",
          "[integration][metrics]") {
  Daemon daemon(kScraped);
  HttpClient web(daemon.port("web"));
  const auto ask = [&](const std::string& method, const std::string& path) {
    return web.ask(method + " " + path + " HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")->status;
  };
  CHECK(ask("GET", "/") == 200);
  CHECK(ask("GET", "/") == 200);
  CHECK(ask("PUT", "/") == 200);
  CHECK(ask("DELETE", "/bad") == 500);
  const std::string before = daemon.admin("/metrics");
  CHECK_FALSE(metrics_show(before, "\nfiberd_http_refused_total{"));
  CHECK(ask("BREW", "/") == 501);
  const auto answers = [&](const char* route, const char* method, const char* code) {
    const std::string labels =
        std::string("{listener=\"web\",route=\"") + route + "\",method=\"" + method + "\",code=\"" + code + "\"}";
    const double n = daemon.metric("fiberd_http_requests_total" + labels).value_or(0);
    CHECK(daemon.metric("fiberd_http_request_duration_seconds_count" + labels).value_or(0) == n);
    return n;
  };
  CHECK(answers("/", "GET", "200") == 2);
  CHECK(answers("/", "PUT", "200") == 1);
  CHECK(answers("/bad", "DELETE", "500") == 1);
  CHECK(answers("none", "other", "501") == 1);
  CHECK(daemon.metric("fiberd_http_refused_total{listener=\"web\",reason=\"unknown_method\"}") == 1.0);
  CHECK(daemon.metric("fiberd_listener_connections_limit{listener=\"web\"}") == 77.0);
  // Who looks on is not served traffic.
  const std::string page = daemon.admin("/metrics");
  for (const char* const listener : {"admin", "metrics"})
    for (const char* const family : {"fiberd_http_requests_total", "fiberd_http_request_duration_seconds_count",
                                     "fiberd_http_sent_bytes_total", "fiberd_http_requests_in_flight"}) {
      INFO(family << " " << listener);
      CHECK_FALSE(metrics_show(page, std::string(family) + "{listener=\"" + listener));
    }
  CHECK(daemon.metric("fiberd_admin_requests_total{listener=\"admin\",route=\"/metrics\",method=\"GET\",code=\"200\"}")
            .value_or(0) >= 2);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("connections of TCP listeners are timed when they are over, and their bytes counted before",
          "[integration][metrics]") {
  Daemon daemon(kScraped);
  const std::string count = "fiberd_tcp_connection_duration_seconds_count{listener=\"echo\"}";
  {
    HttpClient client(daemon.port("echo"));
    client.send("xyz");
    // While the connection lives, and not only at its end.
    CHECK(
        eventually([&] { return daemon.metric("fiberd_tcp_sent_bytes_total{listener=\"echo\"}").value_or(0) == 3.0; }));
    CHECK(daemon.metric("fiberd_tcp_received_bytes_total{listener=\"echo\"}").value_or(0) == 3.0);
    CHECK(daemon.metric(count) == 0.0);
  }
  CHECK(eventually([&] { return daemon.metric(count) == 1.0; }));
  CHECK(daemon.metric("fiberd_tcp_connection_duration_seconds_sum{listener=\"echo\"}").value_or(0) > 0);
  CHECK(daemon.stop() == 0);
}
