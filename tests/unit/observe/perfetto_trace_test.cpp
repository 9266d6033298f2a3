// The trace as Perfetto's tools read it, of real fibers.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <sstream>
#include <string>

#include "core/observe/perfetto_trace.hpp"
#include "core/runtime/blocking.hpp"
#include "core/runtime/runtime.hpp"
#include "core/runtime/scheduler.hpp"
#include "core/runtime/trace.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/start_runtime.hpp"
#include "tests/support/trace_file.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

std::string traced(std::chrono::nanoseconds length = 0ns) {
  std::string all;
  CHECK(observe::write_trace(length, [&all](std::string_view piece) -> Result<void> {
    all.append(piece);
    return {};
  }));
  return all;
}

test::TraceFile valid(const std::string& bytes) {
  test::TraceFile trace(bytes);
  INFO(trace.all_problems());
  CHECK(trace.problems.empty());
  return trace;
}

/// Two fibers hand values to each other.
void ping_pong(int rounds) {
  sync::Channel<int> there(0);
  sync::Channel<int> back(0);
  sync::WaitGroup group;
  group.add(1);
  REQUIRE(runtime::spawn("pong", [&] {
    while (there.receive())
      if (!back.send(1)) break;
    group.done();
  }));
  for (int i = 0; i < rounds; ++i) {
    (void)there.send(1);
    (void)back.receive();
  }
  there.close();
  (void)group.wait();
}

}  // namespace

TEST_CASE("a trace has a track for each Processor and fiber, waits by reason, and flows from a wake to its turn",
          "[observe][trace]") {
  auto rt = test::start_runtime(2);
  std::string bytes;
  rt->run([&] {
    ping_pong(50);
    {
      const auto region = runtime::trace::region("asleep");
      (void)runtime::sleep_for(2ms);
    }
    runtime::blocking_section([] {});
    bytes = traced();
  });
  const test::TraceFile trace = valid(bytes);
  std::map<std::string, std::size_t> names;
  for (const auto& [uuid, track] : trace.tracks) ++names[track.name.substr(0, track.name.find(' '))];
  CHECK(names["P0"] >= 1);
  CHECK(names["run"] == 1);
  CHECK(names["pong"] == 1);
  CHECK(names["Fibers"] == 1);
  // Each is on a Processor's track with its turns, and waits on its own.
  CHECK(trace.slices_named("pong").size() >= 50);
  auto waits = trace.slices_named("channel_receive");
  for (const auto& w : trace.slices_named("channel_send")) waits.push_back(w);
  CHECK(waits.size() >= 50);
  for (const auto& w : waits) CHECK(w.category == "wait");
  const auto sleeps = trace.slices_named("sleep");
  const auto asleep = trace.slices_named("asleep");
  REQUIRE(sleeps.size() == 1);
  REQUIRE(asleep.size() == 1);
  CHECK(asleep[0].to - asleep[0].from >= 1'990'000);  // of two clocks
  CHECK(asleep[0].to - asleep[0].from < 60'000'000'000);
  CHECK(asleep[0].from <= sleeps[0].from);
  CHECK(sleeps[0].to <= asleep[0].to);
  CHECK_FALSE(trace.events_named("time-out").empty());
  CHECK(trace.slices_named("blocking section").size() == 1);
  CHECK_FALSE(trace.events_named("spawn").empty());
  CHECK(trace.flows_ended >= 100);
  // A turn stands where a clock says, near now.
  REQUIRE(trace.clocks.count(3) == 1);
  const auto now = static_cast<std::int64_t>(trace.clocks.at(3));
  for (const auto& e : trace.events) CHECK((e.time <= now + 60'000'000'000 && e.time > now - 60'000'000'000));
}

TEST_CASE("regions nest in requests and over waits, logs carry hostile text, and what a fiber leaves open is closed",
          "[observe][trace]") {
  auto rt = test::start_runtime(1);
  std::string bytes;
  rt->run([&] {
    runtime::trace::request_begin("/a \"route\"");
    {
      const auto outer = runtime::trace::region("outer");
      runtime::yield();
      {
        const auto inner = runtime::trace::region("inner");
        (void)runtime::sleep_for(1ms);
        runtime::trace::log("cache", std::string("gone:\n\"key\"\x01") + std::string(400, 'x'));
      }
    }
    runtime::trace::request_end(204, 5);
    runtime::trace::request_end(500, 5);  // of no request
    const auto left_open = runtime::trace::region("left open");
    bytes = traced();
  });
  runtime::trace::log("outside", "a thread");
  rt->run([&] { bytes += ""; });
  const test::TraceFile trace = valid(bytes);
  const auto request = trace.slices_named("/a \"route\"");
  const auto outer = trace.slices_named("outer");
  const auto inner = trace.slices_named("inner");
  const auto slept = trace.slices_named("sleep");
  REQUIRE(request.size() == 1);
  REQUIRE(outer.size() == 1);
  REQUIRE(inner.size() == 1);
  REQUIRE(slept.size() == 1);
  CHECK(request[0].depth < outer[0].depth);
  CHECK(outer[0].depth < inner[0].depth);
  CHECK(inner[0].depth < slept[0].depth);
  CHECK(request[0].from <= outer[0].from);
  CHECK(outer[0].to <= request[0].to);
  CHECK(trace.slices_named("left open").size() == 1);
  const auto logs = trace.events_named("cache");
  REQUIRE(logs.size() == 1);
  const std::string message = logs[0].notes.at("message");
  CHECK(message.starts_with("gone:\\x0a\"key\"\\x01xxx"));
  CHECK(message.size() < 300);
  const auto answers = trace.events_named("answer");
  REQUIRE(answers.size() == 2);
  CHECK(answers[0].notes.at("status") == "204");
}

TEST_CASE("what threads without a Processor do is in the trace: wakes, spawns, logs", "[observe][trace]") {
  auto rt = test::start_runtime(1);
  runtime::trace::log("outside", "main");
  REQUIRE(rt->spawn("from outside", [] {}));
  std::string bytes;
  rt->run([&] {
    // The blocking pool's thread wakes this fiber.
    runtime::blocking([] {});
    bytes = traced();
  });
  const test::TraceFile trace = valid(bytes);
  const auto logs = trace.events_named("outside");
  REQUIRE(logs.size() == 1);
  CHECK(trace.tracks.at(logs[0].track).name == "threads without a Processor");
  CHECK(trace.slices_named("from outside").size() == 1);
  CHECK(trace.slices_named("blocking").size() >= 1);
}

TEST_CASE("a ring that has wrapped gives a valid trace, and says what is lost while it is read", "[observe][trace]") {
  auto rt = test::start_runtime(2, {.trace_buffer = 32 * 1024, .trace_min_age = 1h});
  rt->run([&] {
    std::atomic<bool> over{false};
    std::atomic<unsigned> turns{0};
    sync::WaitGroup group;
    group.add(1);
    REQUIRE(runtime::spawn("steady", [&] {
      const auto region = runtime::trace::region("begins before all that is left");
      for (; !over; ++turns) runtime::yield();
      group.done();
    }));
    while (turns < 5'000 || rt->scheduler().tracer().stats().lost < 5'000) runtime::yield();
    // Who reads late finds less: chunks are overwritten meanwhile.
    std::size_t slices = 0;
    for (int i = 0; i < 100 && slices <= 100; ++i) {
      const test::TraceFile held = valid(traced());
      CHECK(held.slices_named("begins before all that is left").empty());
      slices = std::max(slices, held.slices_named("steady").size());
    }
    CHECK(slices > 100);
    // Recorded as it happens, by a reader that comes by less often than the ring goes round.
    std::int64_t lost = 0;
    for (int i = 0; i < 200 && lost == 0; ++i) {
      const test::TraceFile recorded = valid(traced(40ms));
      for (const auto& e : recorded.events)
        if (e.type == test::TraceFile::counter) lost = std::max(lost, e.value);
    }
    CHECK(lost > 0);
    over = true;
    (void)group.wait();
  });
}

TEST_CASE("traces are read beside fibers that are born, end, migrate and go on", "[observe][trace]") {
  auto rt = test::start_runtime(4, {.trace_buffer = 64 * 1024});
  rt->run([&] {
    std::atomic<bool> over{false};
    std::atomic<bool> began{false};
    sync::WaitGroup group;
    for (int i = 0; i < 4; ++i) {
      group.add(1);
      REQUIRE(runtime::spawn("maker", [&] {
        while (!over) {
          sync::WaitGroup made;
          for (int k = 0; k < 20; ++k) {
            made.add(1);
            if (!runtime::spawn("short", [&made] {
                  runtime::yield();
                  made.done();
                }))
              made.done();
          }
          (void)made.wait();
          began = true;
        }
        group.done();
      }));
    }
    while (!began) runtime::yield();
    // Who reads may lose its CPU, and find the rings gone round meanwhile: of one, not of all.
    int told = 0;
    for (int i = 0; i < 5; ++i) {
      const test::TraceFile held = valid(traced());
      told += held.slices_named("short").empty() ? 0 : 1;
    }
    CHECK(told > 0);
    const test::TraceFile recorded = valid(traced(60ms));
    CHECK_FALSE(recorded.events.empty());
    over = true;
    (void)group.wait();
  });
}

TEST_CASE("no trace where trace.buffer is 0", "[observe][trace]") {
  auto rt = test::start_runtime(1, {.trace_buffer = 0});
  rt->run([] {
    ping_pong(3);
    const auto region = runtime::trace::region("nowhere");
    runtime::trace::log("nowhere", std::string(300, 'y'));
    CHECK(observe::write_trace(0ns, [](std::string_view) -> Result<void> { return {}; }).error() ==
          std::errc::not_supported);
  });
  CHECK(rt->scheduler().tracer().stats().events == 0);
}

TEST_CASE("protoc decodes a trace against the tree's own subset of the format", "[observe][trace]") {
  auto rt = test::start_runtime(2);
  std::string bytes;
  rt->run([&] {
    runtime::trace::request_begin("/x");
    ping_pong(10);
    runtime::trace::log("note", "\xff\"\n");
    runtime::trace::request_end(200, 1);
    bytes = traced();
  });
  const test::TemporaryDirectory directory;
  const std::string file = directory.write("trace", bytes);
  const auto decoded = test::run(
      {"sh", "-c",
       "protoc --decode=perfetto.protos.Trace -I " FIBERD_SOURCE_DIR "/tests/support perfetto_subset.proto < " + file});
  INFO(decoded.errors);
  REQUIRE(decoded.code == 0);
  CHECK(decoded.output.find("name: \"Processors\"") != std::string::npos);
  CHECK(decoded.output.find("type: TYPE_SLICE_BEGIN") != std::string::npos);
  CHECK(decoded.output.find("terminating_flow_ids:") != std::string::npos);
  CHECK(decoded.output.find("timestamp_clock_id: 3") != std::string::npos);
  // What the subset does not know would stand there by its number.
  std::istringstream lines(decoded.output);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find_first_not_of(' ');
    if (first != std::string::npos) CHECK(std::isdigit(static_cast<unsigned char>(line[first])) == 0);
  }
}
