// Upstreams against sockets: what waits, what is dropped, what a break in the middle of a line does.
#include "daemon/services/aggregate/upstream.hpp"

#include <map>
#include <memory>
#include <string>

#include "core/metric/registry.hpp"
#include "daemon/services/aggregate/aggregator.hpp"
#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace fiberd::daemon::aggregate;
using namespace net_test;
using namespace std::chrono_literals;

namespace {

struct Counted {
  Counted() {
    metric::Family& family = registry.family({.name = "n", .help = "n", .labels = {"what"}});
    metrics = {.delivered = &registry.counter(family, {"delivered"}),
               .uncertain = &registry.counter(family, {"uncertain"}),
               .failed = &registry.counter(family, {"failed"}),
               .rejected = &registry.counter(family, {"rejected"}),
               .dropped = &registry.counter(family, {"dropped"}),
               .superseded = &registry.counter(family, {"superseded"})};
  }
  metric::Registry registry;
  UpstreamMetrics metrics;
};

constexpr int kSeries = 200'000;  // some megabytes of lines: more than sockets hold

}  // namespace

TEST_CASE("where an upstream may be", "[daemon][aggregate][upstream]") {
  for (const char* const good : {"a:1", "127.0.0.1:8125", "[::1]:8125", "udp://a.b:2", "tcp://[::1]:3"})
    CHECK(make_statsd_upstream(good, {}) != nullptr);
  for (const char* const bad : {"", "a", ":1", "a:", "a:0", "a:70000", "a:1x", "[::1", "[::1]x:2"})
    CHECK(make_statsd_upstream(bad, {}) == nullptr);
  for (const char* const good : {"http://a/b", "https://a/b"}) CHECK(make_prometheus_upstream(good, {}) != nullptr);
  for (const char* const bad : {"a/b", "ftp://a/b", "http://a", "http://:1/b", "http://a:x/b"})
    CHECK(make_prometheus_upstream(bad, {}) == nullptr);
  CHECK(upstream_name("http://a/b?key=c") == "http://a/b");
}

TEST_CASE("what waits is bounded by number and by memory", "[daemon][aggregate][upstream]") {
  Counted counted;
  const auto upstream = make_statsd_upstream("127.0.0.1:9", counted.metrics);
  auto rt = start(1);
  rt->run([&] {
    for (std::size_t i = 0; i < Upstream::kQueued + 3; ++i) upstream->offer(std::make_shared<View>());
  });
  CHECK(counted.metrics.dropped->value() == 3);
  Counted large;
  const auto other = make_statsd_upstream("127.0.0.1:9", large.metrics);
  rt->run([&] {
    const auto view = std::make_shared<View>();
    view->bytes = Upstream::kQueuedBytes + 1;
    other->offer(view);  // one, however large
    other->offer(view);
    const auto small = std::make_shared<View>();
    small->bytes = 1;
    other->offer(small);
  });
  CHECK(large.metrics.dropped->value() == 2);
}

TEST_CASE("a context that is done drops what is left, and counts it", "[daemon][aggregate][upstream]") {
  Counted counted;
  const auto upstream = make_statsd_upstream("127.0.0.1:9", counted.metrics);
  auto rt = start(1);
  rt->run([&] {
    const context::Cancelable hard = context::with_cancel(context::background());
    hard.cancel();
    for (int i = 0; i < 4; ++i) upstream->offer(std::make_shared<View>());
    upstream->close();
    upstream->run(hard.context);
  });
  CHECK(counted.metrics.dropped->value() == 4);
  CHECK(counted.metrics.failed->value() == 0);
}

TEST_CASE("a StatsD upstream that breaks off gets the rest, from the beginning of a line, and nothing twice",
          "[daemon][aggregate][upstream]") {
  Expectations expect;
  Counted counted;
  Aggregator aggregator({.listener = "t", .series = kSeries, .percentiles = {}, .keep_distributions = true}, {});
  std::string lines;
  for (int i = 0; i < kSeries; ++i) lines += "a.rather.long.name.for.a.counter." + std::to_string(i) + ":1|c\n";
  aggregator.add(lines);
  const ViewPointer view = aggregator.collect(1s);
  std::string first;
  std::string second;
  auto rt = start(2);
  rt->run([&] {
    auto listener = net::Listener::bind(*rt, *net::Endpoint::parse("127.0.0.1:0"), {});
    if (!expect(listener.has_value(), "bind")) return;
    const std::string where = "tcp://" + (*listener)->local().to_string();
    const auto upstream = make_statsd_upstream(where, counted.metrics);
    Latch latch(1);
    const auto sender = runtime::spawn("upstream", [&] {
      upstream->run(context::background());
      latch.done();
    });
    expect(sender.has_value(), "spawn");
    upstream->offer(view);
    upstream->close();
    {
      auto stream = (*listener)->accept(Deadline::in(10s));
      if (!expect(stream.has_value(), "accept")) return;
      first.resize(10'007);
      expect(stream->read_full(bytes(first), Deadline::in(10s)).has_value(), "read");
      (*listener)->release();
    }  // closed with bytes unread: a reset
    auto stream = (*listener)->accept(Deadline::in(10s));
    // All of it may have been in the kernel already.
    if (stream) {
      const auto rest = read_all(*stream);
      if (expect(rest.has_value(), "read the rest")) second = *rest;
      stream->close();
      (*listener)->release();
    }
    expect(latch.wait(), "the upstream ends");
    (*listener)->stop();
  });
  CHECK(expect.broken().empty());
  // Some of what the first connection held was lost: nobody may say that the interval was delivered.
  CHECK(counted.metrics.delivered->value() == 0);
  CHECK(counted.metrics.uncertain->value() == 1);
  CHECK(counted.metrics.failed->value() == 1);
  REQUIRE(second.size() > 2);
  CHECK(second.starts_with("a.rather"));
  // In both only what broke off in the middle; nothing whole.
  std::map<std::string, int> seen;
  const auto count = [&](const std::string& text) {
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t end = text.find('\n', at);
      if (end == std::string::npos) break;
      ++seen[text.substr(at, end - at)];
      at = end + 1;
    }
  };
  count(first);
  count(second);
  int twice = 0;
  for (const auto& [line, times] : seen) twice += times - 1;
  CHECK(twice == 0);
}

TEST_CASE("a StatsD upstream by TCP counts what is known: read to the end, taken, or reset",
          "[daemon][aggregate][upstream]") {
  enum class Peer : std::uint8_t { reads_and_closes, takes, resets };
  for (const Peer peer : {Peer::reads_and_closes, Peer::takes, Peer::resets}) {
    INFO(static_cast<int>(peer));
    Expectations expect;
    Counted counted;
    Aggregator aggregator({.listener = "t", .percentiles = {}, .keep_distributions = true}, {});
    aggregator.add("a:1|c\nb:2|c\n");
    const ViewPointer view = aggregator.collect(1s);
    auto rt = start(1);
    rt->run([&] {
      auto listener = net::Listener::bind(*rt, *net::Endpoint::parse("127.0.0.1:0"), {});
      if (!expect(listener.has_value(), "bind")) return;
      const auto upstream = make_statsd_upstream("tcp://" + (*listener)->local().to_string(), counted.metrics);
      Latch latch(1);
      const auto sender = runtime::spawn("upstream", [&] {
        upstream->run(context::background());
        latch.done();
      });
      expect(sender.has_value(), "spawn");
      upstream->offer(view);
      upstream->close();
      auto stream = (*listener)->accept(Deadline::in(10s));
      if (!expect(stream.has_value(), "accept")) return;
      std::string first(6, ' ');
      expect(stream->read_full(bytes(first), Deadline::in(10s)).has_value() && first == "a:1|c\n", "the first line");
      if (peer == Peer::reads_and_closes) expect(read_all(*stream).has_value(), "read");
      // The second line is there and unread: this is a reset.
      if (peer != Peer::takes) stream->close();
      expect(latch.wait(), "the upstream ends");
      stream->close();
      (*listener)->release();
      (*listener)->stop();
    });
    CHECK(expect.broken().empty());
    CHECK(counted.metrics.delivered->value() == (peer == Peer::resets ? 0 : 1));
    CHECK(counted.metrics.uncertain->value() == (peer == Peer::resets ? 1 : 0));
    CHECK(counted.metrics.failed->value() == (peer == Peer::resets ? 1 : 0));
  }
}
