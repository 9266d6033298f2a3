// Spans of work that no request has begun: where the daemon gives a context, one begins a trace there.
#include <algorithm>
#include <catch2/catch.hpp>
#include <mutex>
#include <string>
#include <vector>

#include "tests/support/collector.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;

TEST_CASE("work that no request has begun has traces: at the start, on a TCP connection, in an aggregate's flush",
          "[integration][tracing]") {
  std::mutex mutex;
  std::vector<std::string> heads;
  HostileUpstream upstream({[&](UpstreamPeer& peer) {
    while (const auto head = peer.read_head()) {
      if (!peer.read_body(*head)) return;
      const std::lock_guard guard(mutex);
      heads.push_back(*head);
      if (!peer.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")) return;
    }
  }});
  Collector collector;
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\n"
      "tracing: {endpoint: \"" +
          collector.url() +
          "\", batch: {delay: 20ms}, sample: {ratio: 1}}\n"
          "listeners:\n"
          "  - {name: lines, address: \"127.0.0.1:0\", tcp: {handler: lines}}\n"
          "  - {name: numbers, address: \"127.0.0.1:0\", aggregate: {protocol: tcp, flush_interval: 100ms,\n"
          "     flush: [{prometheus: \"" +
          upstream.url("/write") + "\"}]}}\n",
      {.environment = {{"UPSTREAM", upstream.url("/warm")}, {"WARM_UP", "1"}}, .program = FIBERD_TRACED});
  HttpClient client(daemon.port("lines"));
  client.send("hello");
  REQUIRE(eventually([&] {
    return !collector.named("warm up").empty() && !collector.named("line").empty() &&
           !collector.named("aggregate flush").empty() && collector.named("POST").size() >= 1;
  }));
  CHECK(collector.errors().empty());
  const CollectedSpan start = collector.named("warm up")[0];
  CHECK(start.parent_id.empty());
  const std::vector<CollectedSpan> gets = collector.named("GET");
  REQUIRE(gets.size() == 1);
  CHECK(gets[0].parent_id == start.span_id);
  CHECK(gets[0].trace_id == start.trace_id);
  CHECK(collector.named("line")[0].parent_id.empty());
  const CollectedSpan post = collector.named("POST")[0];
  CHECK(eventually([&] {
    const std::vector<CollectedSpan> flushes = collector.named("aggregate flush");
    return std::any_of(flushes.begin(), flushes.end(), [&](const CollectedSpan& flush) {
      return flush.span_id == post.parent_id && flush.trace_id == post.trace_id && flush.parent_id.empty();
    });
  }));
  const std::lock_guard guard(mutex);
  REQUIRE(heads.size() >= 2);
  CHECK(heads[0].find("traceparent: 00-" + start.trace_id + "-" + gets[0].span_id + "-01\r\n") != std::string::npos);
}
