// Readers and dispatchers on a real runtime, over real sockets: what goes in comes out, all of it and once.
#include "daemon/services/aggregate/intake.hpp"

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "core/base/random.hpp"
#include "core/context/waits.hpp"
#include "core/metric/registry.hpp"
#include "tests/unit/net/support.hpp"

using namespace fiberd;
using namespace fiberd::daemon::aggregate;
using namespace net_test;
using namespace std::chrono_literals;

namespace {

constexpr std::size_t kLineSize = 256;

struct Counters {
  Counters() {
    metric::Family& family = registry.family({.name = "n", .help = "n", .labels = {"what"}});
    const auto make = [&](std::string_view what) { return &registry.counter(family, {what}); };
    for (std::size_t i = 0; i < lines.lines.size(); ++i)
      lines.lines[i] = make("line " + std::string(to_string(static_cast<StatsdType>(i))));
    for (std::size_t i = 0; i < lines.refused.size(); ++i)
      lines.refused[i] = make("refused " + std::string(to_string(static_cast<Refusal>(i))));
    intake.datagrams = make("datagrams");
    intake.dropped_queue = make("queue");
    intake.dropped_kernel = make("kernel");
    intake.receive_errors = make("errors");
    intake.unfinished = make("unfinished");
    intake.cut = make("cut");
  }
  [[nodiscard]] std::uint64_t taken() const { return lines.lines[0]->value(); }
  [[nodiscard]] std::uint64_t refused(Refusal r) const { return lines.refused[static_cast<std::size_t>(r)]->value(); }
  metric::Registry registry;
  AggregatorMetrics lines;
  IntakeMetrics intake;
};

double total(Aggregator& aggregator) {
  double sum = 0;
  const ViewPointer view = aggregator.collect(1s);
  for (const Row& row : view->rows) sum += row.total;
  return sum;
}

AggregatorOptions options() { return {.listener = "t", .line_size = kLineSize, .percentiles = {}}; }

}  // namespace

TEST_CASE("intake: streams cut at random, several connections: every line once", "[daemon][aggregate][intake]") {
  for (const unsigned processors : {1U, 2U}) {
    Expectations expect;
    Counters counters;
    Aggregator aggregator(options(), counters.lines);
    auto rt = start(processors);
    static constexpr int kConnections = 8;
    static constexpr int kLines = 4'000;
    rt->run([&] {
      Intake intake(aggregator, counters.intake, processors, kLineSize, context::background());
      expect(intake.start().has_value(), "start");
      std::vector<std::unique_ptr<Pair>> pairs;
      Latch latch(2 * kConnections);
      for (int c = 0; c < kConnections; ++c) {
        pairs.push_back(std::make_unique<Pair>());
        Pair& pair = *pairs.back();
        const auto reader = runtime::spawn("reader", [&] {
          intake.read_stream(context::background(), pair.b, 0s);
          latch.done();
        });
        const auto writer = runtime::spawn("writer", [&, c] {
          Random random(static_cast<std::uint64_t>(c) + 1);
          std::string text;
          for (int i = 0; i < kLines; ++i) text += "c" + std::to_string(i % 7) + ":1|c|#k:" + std::to_string(c) + "\n";
          text += std::string(3 * kLineSize, 'x') + "\nlast:1|c";  // one too long, one without its end
          std::string_view rest = text;
          while (!rest.empty()) {
            // Mostly small pieces, now and then one that fills buffers.
            const std::size_t n =
                std::min<std::size_t>(rest.size(), random.below(20) == 0 ? 70'000 : 1 + random.below(600));
            if (!expect(pair.a.write_all(bytes(rest.substr(0, n))).has_value(), "write")) break;
            rest.remove_prefix(n);
          }
          pair.a.close();
          latch.done();
        });
        expect(reader.has_value() && writer.has_value(), "spawn");
      }
      expect(latch.wait(), "all end");
      intake.finish();
    });
    CHECK(expect.broken().empty());
    CHECK(counters.taken() == kConnections * (kLines + 1));
    CHECK(total(aggregator) == kConnections * (kLines + 1));
    CHECK(counters.refused(Refusal::length) == kConnections);
    CHECK(counters.intake.unfinished->value() == 0);
    CHECK(counters.intake.cut->value() == 0);
  }
}

TEST_CASE("intake: a full channel makes the stream wait, and nothing is lost", "[daemon][aggregate][intake]") {
  Expectations expect;
  Counters counters;
  Aggregator aggregator(options(), counters.lines);
  auto rt = start(1);
  static constexpr std::size_t kLines = 600'000;
  rt->run([&] {
    Intake intake(aggregator, counters.intake, 1, kLineSize, context::background());
    Pair pair;
    std::atomic<std::size_t> sent{0};
    Latch latch(2);
    std::string text;
    for (std::size_t i = 0; i < kLines; ++i) text += "some.name:1|c\n";
    const auto reader = runtime::spawn("reader", [&] {
      intake.read_stream(context::background(), pair.b, 0s);
      latch.done();
    });
    const auto writer = runtime::spawn("writer", [&] {
      for (std::string_view rest = text; !rest.empty();) {
        const auto n = pair.a.write_some(bytes(rest));
        if (!expect(n.has_value(), "write")) break;
        rest.remove_prefix(*n);
        sent += *n;
      }
      pair.a.close();
      latch.done();
    });
    expect(reader.has_value() && writer.has_value(), "spawn");
    // No dispatcher runs: what is taken ends with the channel and the socket's buffers.
    std::size_t before = 0;
    for (int i = 0; i < 1'000; ++i) {
      before = sent;
      (void)runtime::sleep_for(5ms);
      if (before == sent && before != 0) break;
    }
    expect(before == sent && before < text.size() / 2, "the writer waits");
    expect(counters.taken() == 0, "nothing is taken yet");
    expect(intake.start().has_value(), "start");
    expect(latch.wait(), "all end");
    intake.finish();
  });
  CHECK(expect.broken().empty());
  CHECK(counters.taken() == kLines);
  CHECK(total(aggregator) == kLines);
}

TEST_CASE("intake: what a hard stop cuts is counted", "[daemon][aggregate][intake]") {
  Expectations expect;
  Counters counters;
  Aggregator aggregator(options(), counters.lines);
  auto rt = start(1);
  std::uint64_t read_lines = 0;
  rt->run([&] {
    const context::Cancelable connection = context::with_cancel(context::background());
    Intake intake(aggregator, counters.intake, 1, kLineSize, context::background());
    Pair pair;
    Latch latch(1);
    const auto reader = runtime::spawn("reader", [&] {
      intake.read_stream(connection.context, pair.b, 0s);
      latch.done();
    });
    expect(reader.has_value(), "spawn");
    // One batch a write: the channel's 16 and one that waits.
    for (int i = 0; i < 17; ++i) {
      expect(pair.a.write_all(bytes("a:1|c\nb:1|c\n")).has_value(), "write");
      for (int k = 0; k < 1'000 && pair.b.bytes_waiting(); ++k) runtime::yield();
      read_lines += 2;
    }
    for (int k = 0; k < 10; ++k) runtime::yield();
    connection.cancel();
    expect(latch.wait(), "the reader ends");
    expect(intake.start().has_value(), "start");
    intake.finish();
  });
  CHECK(expect.broken().empty());
  CHECK(counters.intake.cut->value() == 2);
  CHECK(counters.taken() + counters.intake.cut->value() == read_lines);
}

TEST_CASE("intake: a line that its connection leaves unfinished", "[daemon][aggregate][intake]") {
  for (const int how : {0, 1, 2}) {  // silent for too long, cancelled, stopped by us
    INFO(how);
    Expectations expect;
    Counters counters;
    Aggregator aggregator(options(), counters.lines);
    auto rt = start(1);
    rt->run([&] {
      const context::Cancelable connection = context::with_cancel(context::background());
      Intake intake(aggregator, counters.intake, 1, kLineSize, context::background());
      expect(intake.start().has_value(), "start");
      Pair pair;
      Latch latch(1);
      expect(pair.a.write_all(bytes("a:1|c\nhalf:1|c")).has_value(), "write");
      const auto reader = runtime::spawn("reader", [&] {
        intake.read_stream(connection.context, pair.b, how == 0 ? 20ms : 0ms);
        latch.done();
      });
      expect(reader.has_value(), "spawn");
      for (int k = 0; k < 1'000 && counters.taken() == 0; ++k) (void)runtime::sleep_for(1ms);
      if (how == 1) connection.cancel();
      if (how == 2) {
        intake.stopping();
        (void)pair.b.shutdown_read();
      }
      expect(latch.wait(), "the reader ends");
      intake.finish();
    });
    CHECK(expect.broken().empty());
    CHECK(counters.taken() == 1);
    CHECK(counters.intake.unfinished->value() == 1);
  }
}

TEST_CASE("intake: datagrams, and what is queued at the end", "[daemon][aggregate][intake]") {
  for (const unsigned processors : {1U, 2U}) {
    Expectations expect;
    Counters counters;
    Aggregator aggregator(options(), counters.lines);
    auto rt = start(processors);
    static constexpr int kDatagrams = 100;
    rt->run([&] {
      Intake intake(aggregator, counters.intake, processors, kLineSize, context::background());
      expect(intake.start().has_value(), "start");
      auto server = net::UdpSocket::bind(*net::Endpoint::parse("127.0.0.1:0"));
      if (!expect(server.has_value(), "bind")) return;
      auto client = net::UdpSocket::connect(server->local());
      if (!expect(client.has_value(), "connect")) return;
      for (int i = 0; i < kDatagrams; ++i)  // before anybody reads
        expect(client->send(bytes("a:1|c\nb:1|c\nc:1|c")).has_value(), "send");
      expect(client->send(bytes("d:1|c\n" + std::string(60'000, 'x'))).has_value(), "a large one");
      expect(client->send(bytes("")).has_value(), "an empty one");
      server->shutdown();  // even so all of it is taken
      Latch latch(1);
      const auto reader = runtime::spawn("udp", [&] {
        intake.read_datagrams(context::background(), *server);
        latch.done();
      });
      expect(reader.has_value(), "spawn");
      expect(latch.wait(), "the reader ends");
      intake.finish();
    });
    CHECK(expect.broken().empty());
    CHECK(counters.intake.datagrams->value() == kDatagrams + 2);
    CHECK(counters.taken() == 3 * kDatagrams + 1);
    CHECK(counters.refused(Refusal::length) == 1);
    CHECK(total(aggregator) == 3 * kDatagrams + 1);
  }
}

TEST_CASE("intake: every datagram is taken, or counted where it was dropped", "[daemon][aggregate][intake]") {
  Expectations expect;
  Counters counters;
  Aggregator aggregator(options(), counters.lines);
  auto rt = start(2);
  static constexpr std::uint64_t kDatagrams = 30'000;
  rt->run([&] {
    Intake intake(aggregator, counters.intake, 1, kLineSize, context::background());
    auto server = net::UdpSocket::bind(*net::Endpoint::parse("127.0.0.1:0"), {.receive_buffer = 16'384});
    if (!expect(server.has_value(), "bind")) return;
    auto client = net::UdpSocket::connect(server->local());
    if (!expect(client.has_value(), "connect")) return;
    Latch latch(1);
    const auto reader = runtime::spawn("udp", [&] {
      intake.read_datagrams(context::background(), *server);
      latch.done();
    });
    expect(reader.has_value(), "spawn");
    // No dispatcher runs yet: the channel fills up.
    for (std::uint64_t i = 0; i < kDatagrams / 2; ++i) expect(client->send(bytes("a:1|c")).has_value(), "send");
    for (int k = 0; k < 2'000 && counters.intake.dropped_queue->value() == 0; ++k) {
      expect(client->send(bytes("not.a.line")).has_value(), "send");
      (void)runtime::sleep_for(1ms);
    }
    expect(counters.intake.dropped_queue->value() != 0, "the channel dropped some");
    const std::uint64_t so_far = counters.intake.datagrams->value();
    expect(intake.start().has_value(), "start");
    for (std::uint64_t i = 0; i < kDatagrams / 2; ++i) expect(client->send(bytes("a:1|c")).has_value(), "send");
    // The kernel tells its losses with a later datagram.
    for (int k = 0; k < 1'000 && counters.intake.datagrams->value() == so_far; ++k) (void)runtime::sleep_for(1ms);
    (void)runtime::sleep_for(20ms);
    expect(client->send(bytes("a:1|c")).has_value(), "send");
    server->shutdown();
    expect(latch.wait(), "the reader ends");
    intake.finish();
  });
  CHECK(expect.broken().empty());
  CHECK(counters.taken() + counters.refused(Refusal::value) + counters.intake.dropped_queue->value() ==
        counters.intake.datagrams->value());
  CHECK(counters.intake.datagrams->value() + counters.intake.dropped_kernel->value() >= kDatagrams);
}
