// The histogram of durations names a request whose trace was kept, and nobody else's.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "core/http/message.hpp"
#include "core/metric/status_counters.hpp"
#include "core/observe/catalogue.hpp"
#include "core/observe/exporter.hpp"
#include "core/trace/tracer.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

constexpr const char* kCallersTrace = "0af7651916cd43dd8448eb211c80319c";

std::string with_parent(const char* trace, const char* flags) {
  return std::string("traceparent: 00-") + trace + "-b7ad6b7169203331-" + flags + "\r\n";
}

std::size_t times_in(const std::string& text, const std::string& part) {
  std::size_t n = 0;
  for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

struct CountedRoute {
  metric::Registry registry;
  observe::Exporter exporter{registry};
  metric::StatusCounters counters{
      registry,
      {.durations = observe::register_metric(registry, "fiberd_http_request_duration_seconds"),
       .received = observe::register_metric(registry, "fiberd_http_received_bytes_total"),
       .sent = observe::register_metric(registry, "fiberd_http_sent_bytes_total"),
       .in_flight = observe::register_metric(registry, "fiberd_http_requests_in_flight")},
      "web",
      "/",
      http::kMethodLabels};
  [[nodiscard]] std::string page() const { return exporter.render(observe::Exporter::Format::openmetrics); }
};

}  // namespace

TEST_CASE("requests whose traces are kept are the exemplars of their durations", "[integration][metrics][exemplar]") {
  CountedRoute counted;
  http::ServerOptions options;
  options.tracer = std::make_shared<const trace::Tracer>(trace::TracerOptions{.ratio = 0, .errors = false},
                                                         std::make_shared<trace::SpanQueue>(1U << 20U));
  std::vector<http::Route> routes{{.spec = {.path = "/"}, .handler = hello(), .counters = &counted.counters}};
  HttpServer server(std::move(routes), std::move(options));
  HttpClient client(server.port());
  const auto requests = [&](double n) {
    return eventually([&] {
      return counted.page().find(
                 "fiberd_http_requests_total{listener=\"web\",route=\"/\",method=\"GET\",code=\"200\"} " +
                 std::to_string(static_cast<int>(n)) + "\n") != std::string::npos;
    });
  };
  // Whoever is not sampled is nobody's example: not without a trace, nor with one that the caller does not keep.
  REQUIRE(client.ask(get("/")));
  REQUIRE(client.ask(get("/", with_parent("11111111111111111111111111111111", "00"))));
  CHECK(requests(2));
  CHECK(counted.page().find("trace_id=") == std::string::npos);
  REQUIRE(client.ask(get("/", with_parent(kCallersTrace, "01"))));
  CHECK(requests(3));
  const std::string page = counted.page();
  CHECK(times_in(page, " # {trace_id=\"") == 1);
  CHECK(page.find(std::string(" # {trace_id=\"") + kCallersTrace + "\",span_id=\"") != std::string::npos);
  // It names our own span and not the caller's.
  CHECK(page.find("b7ad6b7169203331") == std::string::npos);
  // In a pipeline each is told of when it has been sent.
  static constexpr const char* kSecond = "4bf92f3577b34da6a3ce929d0e0e4736";
  REQUIRE(client.send(get("/") + get("/", with_parent(kSecond, "01")) + get("/")));
  for (int i = 0; i < 3; ++i) REQUIRE(client.receive());
  CHECK(requests(6));
  CHECK(counted.page().find(std::string("trace_id=\"") + kSecond + "\"") != std::string::npos);
}
