// The daemon is reloaded again and again while clients ask it at a steady rate: no request fails, nothing grows, and no
// Processor stands still.
#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "tests/integration/configurations.hpp"
#include "tests/integration/conversations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/paced_load.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

const std::string kTwoProcessors = "runtime: {gomaxprocs: 2}\n";

/// What must not grow.
struct Held {
  std::size_t resident = 0;  // KiB
  std::size_t descriptors = 0;
  std::size_t series = 0;  // lines of /metrics
  double fibers = 0;
};

Held held_by(Daemon& daemon) {
  const std::string process = "/proc/" + std::to_string(daemon.process().pid());
  Held held;
  const std::string status = read_file(process + "/status");
  held.resident = std::strtoul(status.c_str() + status.find("VmRSS:") + 6, nullptr, 10);
  for (const auto& entry : std::filesystem::directory_iterator(process + "/fd")) {
    (void)entry;
    ++held.descriptors;
  }
  const std::string page = daemon.admin("/metrics");
  held.series = static_cast<std::size_t>(std::count(page.begin(), page.end(), '\n'));
  for (const char* const state : {"runnable", "running", "waiting"})
    held.fibers += daemon.metric("fiberd_fibers{state=\"" + std::string(state) + "\"}").value_or(0);
  return held;
}

/// The least of several looks: what a reload that has just ended still needs for a moment is not held.
Held settled(Daemon& daemon) {
  Held least = held_by(daemon);
  for (int i = 0; i < 10; ++i) {
    (void)eventually([] { return false; }, 20ms);
    const Held now = held_by(daemon);
    least.resident = std::min(least.resident, now.resident);
    least.descriptors = std::min(least.descriptors, now.descriptors);
    least.series = std::min(least.series, now.series);
    least.fibers = std::min(least.fibers, now.fibers);
  }
  return least;
}

std::string told(const Held& h) {
  std::ostringstream text;
  text << h.resident << " KiB, " << h.descriptors << " descriptors, " << h.series << " lines of /metrics, " << h.fibers
       << " fibers";
  return text.str();
}

/// Changes a route and a limit each time, and every tenth time a listener.
std::string generation(unsigned n, const std::string& root) {
  const std::string routes = says("/", "x") + ", {path: /echo, echo: {}}, {path: /*, files: {root: " + root + "}}, " +
                             says("/g" + std::to_string(n), "g") +
                             ", {path: /limited, rate_limit: {rate: " + std::to_string(n + 1) +
                             "/s}, respond: {body: l}}";
  return with_listeners(
      http_listener("web", routes,
                    ", limits: {connections: " + std::to_string(1000 + n) +
                        ", body_rate: 0, write_rate: 0}, timeouts: {body: 10m, write: 10m, idle: 10m}") +
          http_listener("other" + std::to_string(n / 10 % 2), says("/", "other")),
      // The flight recorder's rings and the tables of sampled profiles fill until they are full: not what is looked
      // for.
      std::string("trace: {buffer: 0}\nprofiles: {heap_rate: 0}\n") + kTwoProcessors);
}

struct Asked {
  unsigned connections;
  unsigned rate;  // requests a second
};

void many_reloads(unsigned count, unsigned warm, Asked asked) {
  const TemporaryDirectory directory;
  static constexpr std::size_t kBig = std::size_t{16} << 20U;
  directory.write("big", std::string(kBig, 'b'));
  // One arena: which threads use malloc for the first time, and when, is the machine's doing.
  Daemon daemon(generation(0, directory.path()), {.environment = {{"MALLOC_ARENA_MAX", "1"}}});
  const std::uint16_t port = daemon.port("web");
  PacedLoad load({.port = port, .connections = asked.connections, .rate = asked.rate, .body = "x"});
  // They last longer than any reload: from before the first one to behind the last.
  HttpClient upload(port, 0, 60s);
  upload.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  HttpClient download(port, 4096, 60s);
  download.send("GET /big HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(download.more());
  Held before;
  Held half;
  const std::int64_t began = monotonic_now();
  for (unsigned n = 1; n <= count; ++n) {
    const Answer answer = reload(daemon, generation(n, directory.path()));
    INFO(answer.body);
    REQUIRE(answer.status == 200);
    if (n == warm) before = settled(daemon);
    if (n == (warm + count) / 2) half = settled(daemon);
  }
  const std::int64_t took = monotonic_now() - began;
  const Held after = settled(daemon);
  upload.send("world");
  const auto uploaded = upload.receive();
  CHECK((uploaded && uploaded->body == "helloworld"));
  const auto downloaded = download.receive();
  CHECK((downloaded && downloaded->body.size() == kBig));
  const PacedLoad::Outcome outcome = load.finish();
  INFO(outcome.first_failure);
  CHECK(outcome.failed == 0);
  CHECK(outcome.answered == outcome.asked);
  CHECK(outcome.closed == 0);
  CHECK(outcome.fresh != 0);
  WARN(count << " reloads in " << took / 1'000'000 << " ms, " << outcome.asked << " requests ("
             << outcome.asked * 1'000'000'000 / static_cast<std::uint64_t>(took) << "/s, " << outcome.fresh
             << " by new connections), p50 " << outcome.quantile(0.5) << " us, p99 " << outcome.quantile(0.99)
             << " us, p99.9 " << outcome.quantile(0.999) << " us, most " << outcome.quantile(1) << " us\nafter " << warm
             << ": " << told(before) << "\nafter " << count << ": " << told(after));
  CHECK(after.descriptors <= before.descriptors + 2);
  CHECK(after.fibers <= before.fibers + 4);
  CHECK(after.series <= before.series + before.series / 50);
  // How many requests were served at once is memory, too, and depends on the machine's pauses; so is which threads of
  // the blocking pool have used malloc for the first time. What each reload left behind would be there in the second
  // half as in the first.
  if (!kSanitized) {
    CHECK(after.resident <= before.resident + before.resident / 6);
    CHECK(after.resident <= half.resident + half.resident / 40 + 256);
  }
  CHECK(daemon.metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(daemon.stop() == 0);
}

}  // namespace

TEST_CASE("a hundred reloads under load: no request fails, and nothing grows", "[integration][daemon][reload]") {
  many_reloads(150, 100, {50, 500});
}

TEST_CASE("a thousand reloads under 2,000 requests a second on 200 connections: no request fails, and nothing grows",
          "[integration][daemon][reload][.nightly]") {
  many_reloads(1000, 100, {200, 2000});
}

namespace {

std::string many_routes(int count, const std::string& body) {
  std::string all = "{path: /beats, handler: heartbeats}, {path: /echo, echo: {}}, " + says("/", "x");
  for (int i = 0; i < count; ++i) all += ", " + says("/r" + std::to_string(i), body);
  return with_listeners(http_listener("web", all), kTwoProcessors);
}

/// What the program tells since it was asked last, µs.
struct Beats {
  long cpu = 0;
  long stood = 0;
  long late = 0;
  long beats = 0;
};
Beats beats_of(const Daemon& daemon) {
  HttpClient client(daemon.port("web"), 0, 30s);
  std::istringstream text(client.ask(get("/beats")).value().body);
  Beats b;
  std::string word;
  text >> word >> b.cpu >> word >> b.stood >> word >> b.late >> word >> b.beats;
  return b;
}
long quantile(double part, std::vector<long> values) {
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(part * static_cast<double>(values.size() - 1))];
}
long median(const std::vector<long>& values) { return quantile(0.5, values); }
long quartile(const std::vector<long>& values) { return quantile(0.25, values); }

}  // namespace

TEST_CASE("a reload of a thousand routes is short, and no Processor stands still meanwhile",
          "[integration][daemon][reload][.nightly]") {
  static constexpr int kReloads = 30;
  Daemon daemon(many_routes(1000, "one"), {.environment = {{"HEARTBEATS", "2"}}, .program = FIBERD_HEARTBEATS});
  PacedLoad load({.port = daemon.port("web"), .connections = 200, .rate = 2000, .body = "x"});
  std::vector<long> took;
  std::vector<long> cpu;
  std::vector<long> stood;
  std::vector<long> late;
  std::vector<long> quiet_cpu;
  std::vector<long> quiet_stood;
  for (int i = 0; i < kReloads; ++i) {
    const std::string yaml = many_routes(1000, i % 2 == 0 ? "two" : "one");
    (void)beats_of(daemon);
    // As long as a reload takes, and without one: what the machine itself does to a beat.
    const std::int64_t until = monotonic_now() + (took.empty() ? 50 : took.back()) * 1'000'000;
    (void)eventually([until] { return monotonic_now() >= until; });
    const Beats quiet = beats_of(daemon);
    const Answer answer = reload(daemon, yaml);
    const Beats during = beats_of(daemon);
    REQUIRE(answer.status == 200);
    REQUIRE(during.beats > 10);
    const std::size_t line = answer.body.find(" in ");
    REQUIRE(line != std::string::npos);
    took.push_back(std::strtol(answer.body.c_str() + line + 4, nullptr, 10));
    cpu.push_back(during.cpu);
    stood.push_back(during.stood);
    late.push_back(during.late);
    quiet_cpu.push_back(quiet.cpu);
    quiet_stood.push_back(quiet.stood);
  }
  const PacedLoad::Outcome outcome = load.finish();
  INFO(outcome.first_failure);
  CHECK(outcome.failed == 0);
  const auto most = [](const std::vector<long>& values) { return *std::max_element(values.begin(), values.end()); };
  WARN("reloads of 1,000 routes: median "
       << median(took) << " ms, most " << most(took)
       << " ms\nlongest of a Processor in each, us: CPU between beats median " << median(cpu) << ", most " << most(cpu)
       << " (without a reload " << median(quiet_cpu) << ", " << most(quiet_cpu) << "); stood median " << median(stood)
       << ", most " << most(stood) << " (without " << median(quiet_stood) << ", " << most(quiet_stood)
       << "); late by the wall median " << median(late) << ", most " << most(late));
  if (!kSanitized) {
    // What a reload itself does it does each time; what the machine takes away now and then is not its: a thread that
    // had no CPU for a while finds many requests, and the beat is behind them.
    CHECK(quartile(took) <= 50);
    CHECK(median(cpu) <= 2000);
    CHECK(median(stood) <= 2000);
  }
  CHECK(daemon.stop() == 0);
}

TEST_CASE("the last request of a large configuration does not hold up others with the end of it",
          "[integration][daemon][reload][.nightly]") {
  static constexpr int kRoutes = 10'000;
  Daemon daemon(many_routes(kRoutes, "0"), {.environment = {{"HEARTBEATS", "2"}}, .program = FIBERD_HEARTBEATS});
  std::vector<long> stood;
  for (int i = 1; i <= 5; ++i) {
    HttpClient last(daemon.port("web"), 0, 30s);
    last.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
    CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1; }));
    REQUIRE(reload(daemon, many_routes(kRoutes, std::to_string(i))).status == 200);
    (void)eventually([] { return false; }, 100ms);  // what the reload itself leaves behind
    (void)beats_of(daemon);
    last.send("world");
    CHECK(last.receive().value().body == "helloworld");
    (void)eventually([] { return false; }, 50ms);
    const Beats end = beats_of(daemon);
    REQUIRE(end.beats != 0);
    stood.push_back(std::max(end.cpu, end.stood));
  }
  WARN("longest of a Processor when the last request of " << kRoutes << " routes ended: median " << median(stood)
                                                          << " us");
  if (!kSanitized) CHECK(median(stood) <= 2000);
  CHECK(daemon.stop() == 0);
}
