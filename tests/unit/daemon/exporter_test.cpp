// Who sends spans, where memory runs out at the worst time.
#include "daemon/tracing/exporter.hpp"

#include <catch2/catch.hpp>
#include <cstdint>
#include <string>

#include "core/metric/registry.hpp"
#include "tests/support/allocations.hpp"
#include "tests/support/hostile_upstream.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::test;

TEST_CASE("a batch that the collector took is not counted as lost, too, when memory for the log's line is out",
          "[daemon][tracing]") {
  static constexpr std::size_t kLong = 6000;  // of the URL, which stands in that line
  HostileUpstream upstream({[](UpstreamPeer& peer) {
    const auto head = peer.read_head();
    if (!head || !peer.read_body(*head)) return;
    fail_allocations_of(kLong);
    const std::string body = R"({"partialSuccess":{"rejectedSpans":1,"errorMessage":"old"}})";
    (void)peer.send("HTTP/1.1 200 OK\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" + body);
    (void)peer.wait_for_end();
  }});
  metric::Registry registry;
  const auto counter = [&](const char* name) {
    return &registry.counter(registry.family({.name = name, .help = "h", .type = metric::Type::counter}));
  };
  const daemon::ExporterMetrics metrics{.exported = counter("exported"),
                                        .rejected = counter("rejected"),
                                        .failed = counter("failed"),
                                        .stopped = counter("stopped"),
                                        .tries_partial = counter("partial")};
  const auto queue = std::make_shared<trace::SpanQueue>(1 << 20);
  daemon::TraceExporter exporter(queue, metrics);
  config::TracingConfig config;
  config.endpoint = upstream.url("/" + std::string(kLong, 'v'));
  exporter.use(config, {});
  trace::SpanQueue::List list;
  for (int i = 0; i != 5; ++i) REQUIRE(queue->add(list, "{}"));
  queue->push(list);
  exporter.finish();
  const auto rt = start_runtime(1);
  rt->run([&] { exporter.run(); });
  fail_allocations_of(SIZE_MAX);
  CHECK(metrics.exported->value() == 4);
  CHECK(metrics.rejected->value() == 1);
  CHECK(metrics.failed->value() == 0);
  CHECK(metrics.stopped->value() == 0);
  CHECK(metrics.tries_partial->value() == 1);
  CHECK(queue->held() == 0);
  CHECK(queue->waiting() == 0);
}
