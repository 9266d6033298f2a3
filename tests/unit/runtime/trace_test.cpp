// The flight recorder's rings: what stays, what is lost, and who may look meanwhile.
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/sched_trace.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/trace.hpp"
#include "core/runtime/trace_reader.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;
using namespace fiberd::runtime;
using namespace std::chrono_literals;

namespace {

/// A Tracer without a scheduler, and one Processor's writer.
struct Recorder {
  explicit Recorder(std::size_t buffer, std::chrono::nanoseconds min_age) : tracer({buffer, min_age.count()}) {
    tracer.attach(*writer);
    Tracer::put(*writer, 3);
  }
  void steal(std::uint32_t n) const { writer->record(trace_word(TraceKind::steal, 0, n)); }

  std::unique_ptr<TraceWriter> writer = std::make_unique<TraceWriter>();
  Tracer tracer;
};

std::vector<std::uint32_t> read_steals(TraceReader& reader, std::uint64_t* lost = nullptr) {
  std::vector<std::uint32_t> seen;
  const std::uint64_t n = reader.look([&](const TraceItem& item) {
    if (item.kind == TraceKind::steal) seen.push_back(item.argument);
  });
  if (lost != nullptr) *lost = n;
  return seen;
}

}  // namespace

TEST_CASE("what was recorded is read once, in order, and goes on where it ended", "[runtime][trace]") {
  const Recorder r(1U << 20U, 1h);
  TraceReader reader(r.tracer, TraceReader::From::oldest);
  std::uint32_t next = 0;
  for (int look = 0; look < 20; ++look) {
    for (int i = 0; i < 700; ++i) r.steal(next + static_cast<std::uint32_t>(i));
    std::uint64_t lost = 0;
    const auto seen = read_steals(reader, &lost);
    CHECK(lost == 0);
    REQUIRE(seen.size() == 700);
    for (const std::uint32_t n : seen) REQUIRE(n == next++);
  }
  TraceReader from_now(r.tracer, TraceReader::From::now);
  r.steal(1);
  CHECK(read_steals(from_now) == std::vector<std::uint32_t>{1});
  TraceReader all(r.tracer, TraceReader::From::oldest);
  CHECK(read_steals(all).size() == 20 * 700 + 1);
}

TEST_CASE("a ring grows while its events are young, up to its bound, and then counts what it loses",
          "[runtime][trace]") {
  static constexpr std::size_t kChunks = 8;
  const Recorder young(kChunks * TraceChunk::kBytes, 1h);
  for (std::uint32_t i = 0; i < 20'000; ++i) young.steal(i);
  CHECK(young.tracer.stats().bytes == (kChunks + 1) * TraceChunk::kBytes);  // and the ring of all threads
  CHECK(young.tracer.stats().lost > 10'000);
  TraceReader reader(young.tracer, TraceReader::From::oldest);
  std::uint64_t lost = 0;
  const auto kept = read_steals(reader, &lost);
  CHECK(lost == 0);  // to this reader all that is left is all there was
  CHECK(kept.size() > (kChunks - 1) * TraceChunk::kEvents);
  CHECK(kept.back() == 19'999);
  for (std::size_t i = 1; i < kept.size(); ++i) REQUIRE(kept[i] == kept[i - 1] + 1);

  // Where no age is asked for, two chunks take turns, and nothing counts as lost.
  const Recorder old(kChunks * TraceChunk::kBytes, 0ns);
  for (std::uint32_t i = 0; i < 20'000; ++i) old.steal(i);
  CHECK(old.tracer.stats().lost < TraceChunk::kEvents);
  CHECK(old.tracer.stats().bytes <= 3 * TraceChunk::kBytes);
}

TEST_CASE("a reader that comes too late is told how much it has missed", "[runtime][trace]") {
  const Recorder r(4 * TraceChunk::kBytes, 1h);
  TraceReader reader(r.tracer, TraceReader::From::oldest);
  r.steal(0);
  CHECK(read_steals(reader).size() == 1);
  static constexpr std::uint32_t kMany = 50'000;
  for (std::uint32_t i = 1; i <= kMany; ++i) r.steal(i);
  std::uint64_t lost = 0;
  const auto seen = read_steals(reader, &lost);
  CHECK(lost + seen.size() == kMany);
  CHECK(lost > kMany - 5 * TraceChunk::kEvents);
  CHECK(seen.back() == kMany);
}

TEST_CASE("a turn of which events are lost is not the longest", "[runtime][trace]") {
  const Recorder r(4 * TraceChunk::kBytes, 1h);
  const auto run = [&r](std::uint32_t fiber) { r.writer->record(trace_word(TraceKind::run, fiber, 0)); };
  TraceReader reader(r.tracer, TraceReader::From::oldest);
  TracePauses pauses;
  const auto look = [&] {
    const std::uint64_t lost = reader.look([&](const TraceItem& item) { pauses.see(item); });
    return std::pair(lost, pauses.take_longest(reader.until()));
  };
  run(1);
  (void)look();
  // Many short turns, and nobody looks for much longer than any of them takes.
  std::int64_t longest = 0;
  std::int64_t before = monotonic_now();
  const std::int64_t began = before;
  for (std::uint32_t i = 0; i < 50'000 || before - began < 1'000'000'000; ++i) {
    run(2 + i % 7);
    const std::int64_t now = monotonic_now();
    longest = std::max(longest, now - before);
    before = now;
  }
  const auto [lost, told] = look();
  CHECK(lost > 0);
  // But for this thread's own pauses, which the clock here sees, too, and what the look took.
  CHECK(told <= longest + monotonic_now() - before + 1'000'000);
}

TEST_CASE("readers never see a torn event, whatever the writer does meanwhile", "[runtime][trace]") {
  const Recorder r(2 * TraceChunk::kBytes, 1h);
  std::atomic<bool> over{false};
  std::thread writer([&] {
    for (std::uint32_t i = 0; !over.load(std::memory_order_relaxed); ++i) {
      r.steal(i);
      if (i % 5 == 0) r.writer->record(trace_word(TraceKind::spawn, i & 0xffffffU, i), nullptr, "name");
      if (i % 11 == 0) r.writer->record(trace_word(TraceKind::log, "category"), "0123456789abcdef0123", i % 21);
    }
  });
  TraceReader reader(r.tracer, TraceReader::From::oldest);
  bool in_order = true;
  bool whole = true;
  std::uint64_t seen = 0;
  std::int64_t last = INT64_MIN;
  std::int64_t before = -1;
  const std::int64_t most = monotonic_now() + 30'000'000'000;
  for (int look = 0; (look < 200 || seen < 10'000) && monotonic_now() < most; ++look)
    (void)reader.look([&](const TraceItem& item) {
      ++seen;
      if (item.ring == TraceItem::kShared) return;
      in_order = in_order && item.time >= last;
      last = item.time;
      switch (item.kind) {
        case TraceKind::steal:
          in_order = in_order && std::int64_t{item.argument} > before;
          before = item.argument;
          break;
        case TraceKind::spawn:
          whole = whole && item.fiber == (item.argument & 0xffffffU) && std::string_view(item.text) == "name";
          break;
        case TraceKind::log:
          whole = whole && std::string_view(item.text) == "category" &&
                  std::string_view("0123456789abcdef0123").starts_with(item.message);
          break;
        case TraceKind::place: break;
        default: whole = false;
      }
    });
  over = true;
  writer.join();
  CHECK(seen > 1'000);
  CHECK(in_order);
  CHECK(whole);
}

TEST_CASE("the longest turn of a Processor is in schedtrace's line", "[runtime][trace]") {
  auto rt = test::start_runtime(1);
  rt->run([] {
    runtime::yield();
    const std::int64_t until = monotonic_now() + 5'000'000;
    while (monotonic_now() < until) {
    }
    runtime::yield();
  });
  const std::string line = describe_scheduler(0, false);
  const std::size_t at = line.find(" longestpause=");
  INFO(line);
  REQUIRE(at != std::string::npos);
  CHECK(line.ends_with("us"));
  CHECK(std::stoll(line.substr(at + 14)) >= 5'000);
}

TEST_CASE("a slow request and a stall are causes, each told once until it is asked for", "[runtime][trace]") {
  trace::watch(10ms, true);
  trace::request_end(200, 9'999'999);
  trace::request_end(200, 10'000'000);
  trace::request_end(200, 10'000'000);
  CHECK(trace::wait_for_cause() == trace::Cause::latency);
  trace::tell(trace::Cause::stall);
  CHECK(trace::wait_for_cause() == trace::Cause::stall);
  trace::watch(0ns, false);
  trace::request_end(200, 3'600'000'000'000);
  trace::tell(trace::Cause::stall);
  std::thread waiter([] { CHECK_NOTHROW(trace::wait_for_cause()); });
  trace::close_watch();
  waiter.join();
  CHECK(trace::wait_for_cause() == trace::Cause::closed);
}

TEST_CASE("a fiber that holds its Processor is a cause", "[runtime][trace]") {
  trace::watch(0ns, true);
  std::atomic<bool> told{false};
  std::thread waiter([&] { told = trace::wait_for_cause() == trace::Cause::stall; });
  auto rt = test::start_runtime(2);
  rt->run([&] {
    const std::int64_t most = monotonic_now() + 5'000'000'000;
    while (!told && monotonic_now() < most) {
    }
  });
  // On a machine that gives the thread no CPU nobody is blamed, and that is no cause.
  const MemStats stats = rt->read_mem_stats();
  const bool blamed = stats.stalls_computing + stats.stalls_blocking != 0;
  trace::close_watch();
  waiter.join();
  CHECK(told == blamed);
}
