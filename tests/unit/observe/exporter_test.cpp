#include "core/observe/exporter.hpp"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <prometheus/metric_family.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <set>
#include <sstream>

#include "core/http/message.hpp"
#include "core/metric/status_counters.hpp"
#include "core/observe/catalogue.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/support/start_runtime.hpp"

using namespace fiberd;

namespace {

std::string repository_file(const std::string& path) {
  std::ifstream in(FIBERD_SOURCE_DIR "/" + path);
  std::stringstream text;
  text << in.rdbuf();
  return text.str();
}

runtime::MemStats some_stats() {
  runtime::MemStats s;
  s.gomaxprocs = 3;
  s.fibers_waiting = 17;
  s.spawn_refusals[0] = {std::make_error_code(std::errc::not_enough_memory), 4};
  s.parks[static_cast<std::size_t>(runtime::WaitReason::io_read)] = 5;
  s.latency_buckets[0] = 2;
  s.latency_buckets.back() = 1;
  s.latency_sum_ns = 2'000'000'000;
  s.guard_kind = fiber::GuardKind::mprotect;
  return s;
}

void use_some(metric::Registry& registry) {
  const auto family = [&](const char* name) -> metric::Family& { return observe::register_metric(registry, name); };
  metric::StatusCounters status(registry,
                                {.durations = family("fiberd_http_request_duration_seconds"),
                                 .received = family("fiberd_http_received_bytes_total"),
                                 .sent = family("fiberd_http_sent_bytes_total"),
                                 .in_flight = family("fiberd_http_requests_in_flight")},
                                "web", "/a\"\\\n*", http::kMethodLabels);
  for (int i = 0; i < 3; ++i) status.begin();
  constexpr auto kGet = static_cast<std::size_t>(http::Method::get);
  status.record({kGet, 200, 300'000, 100, 2000});
  status.record({kGet, 404, 20'000'000'000, 50, 300});
  registry.gauge(observe::register_metric(registry, "fiberd_listener_connections"), {"web"}).add(2);
}

}  // namespace

TEST_CASE("every exported family is in the catalogue and the other way round", "[observe]") {
  metric::Registry registry;
  const observe::Exporter exporter(registry, some_stats, "1.2.3");
  std::set<std::string> exported;
  std::set<std::string> listed;
  for (const auto& family : exporter.Collect()) {
    CHECK(exported.insert(family.name).second);
    const observe::MetricInfo* info = observe::find_metric(family.name);
    if (info != nullptr) CHECK(family.help == info->help);
  }
  for (const auto& info : observe::catalogue()) CHECK(listed.emplace(info.name).second);
  CHECK(exported == listed);
}

TEST_CASE("the page says what was counted", "[observe]") {
  metric::Registry registry;
  const observe::Exporter exporter(registry, some_stats, "1.2.3");
  use_some(registry);
  const std::string page = exporter.render();
  for (const char* line :
       {"fiberd_sched_gomaxprocs 3\n", "fiberd_fibers{state=\"waiting\"} 17\n",
        "fiberd_sched_parks_total{reason=\"io_read\"} 5\n", "fiberd_stack_guard_info{mode=\"mprotect\"} 1\n",
        "fiberd_fibers_refused_total{reason=\"cannot_allocate_memory\"} 4\n", "fiberd_sched_latency_seconds_count 3\n",
        "fiberd_sched_latency_seconds_sum 2\n", "fiberd_sched_latency_seconds_bucket{le=\"+Inf\"} 3\n",
        "fiberd_listener_connections{listener=\"web\"} 2\n",
        "fiberd_http_requests_total{listener=\"web\",route=\"/a\\\"\\\\\\n*\",method=\"GET\",code=\"404\"} 1\n",
        "fiberd_build_info{version=\"1.2.3\",compiler=", "\nprocess_open_fds ", "\nprocess_start_time_seconds 1"}) {
    INFO(line);
    CHECK(page.find(line) != std::string::npos);
  }
  // Bounds read as an operator wrote them, and buckets are cumulative.
  CHECK(page.find("code=\"200\",le=\"0.00025\"} 0\n") != std::string::npos);
  CHECK(page.find("code=\"200\",le=\"0.0005\"} 1\n") != std::string::npos);
  CHECK(page.find("code=\"404\",le=\"10\"} 0\n") != std::string::npos);
  CHECK(page.find("code=\"404\",le=\"+Inf\"} 1\n") != std::string::npos);
}

TEST_CASE("places where fibers are spawned are exported, a bounded number of them", "[observe]") {
  metric::Registry registry;
  const observe::Exporter exporter(registry, some_stats, "1.2.3");
  const auto rt = test::start_runtime(1);
  rt->run([] {
    for (int i = 0; i < 3; ++i)
      if (!runtime::spawn("one of three", [] {})) std::abort();
  });
  const std::string page = exporter.render();
  INFO(page);
  CHECK(page.find("fiberd_spawn_site_spawned_total{site=\"tests/unit/observe/exporter_test.cpp:") != std::string::npos);
  CHECK(page.find("\"} 3\n") != std::string::npos);
  for (const char* const family :
       {"fiberd_spawn_site_fibers{site=", "fiberd_spawn_site_latency_seconds_bucket{site=",
        "fiberd_spawn_site_stack_high_water_bytes{site=", "fiberd_stacks_outgrown_total 0\n"})
    CHECK(page.find(family) != std::string::npos);
  std::size_t series = 0;
  for (std::size_t at = 0; (at = page.find("\nfiberd_spawn_site_fibers{", at)) != std::string::npos; ++at) ++series;
  CHECK(series >= 1);
  CHECK(series <= 64);
}

TEST_CASE("without runtime statistics the rest is exported", "[observe]") {
  metric::Registry registry;
  const observe::Exporter exporter(registry);
  const std::string page = exporter.render();
  CHECK(page.find("fiberd_sched_") == std::string::npos);
  CHECK(page.find("process_threads 1\n") != std::string::npos);
}

TEST_CASE("process metrics are there, and right, when descriptors have run out", "[observe]") {
  metric::Registry registry;
  const observe::Exporter exporter(registry);
  const auto open_fds = [&] {
    const std::string page = exporter.render();
    const std::size_t at = page.find("\nprocess_open_fds ");
    return at == std::string::npos ? -1 : std::atoi(page.c_str() + at + 18);
  };
  const int before = open_fds();
  CHECK(before > 0);
  rlimit limit{};
  REQUIRE(::getrlimit(RLIMIT_NOFILE, &limit) == 0);
  const rlimit none{0, limit.rlim_max};
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
  const int refused = ::open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
  const int error = errno;
  const int during = open_fds();
  REQUIRE(::setrlimit(RLIMIT_NOFILE, &limit) == 0);
  CHECK(refused == -1);
  CHECK(error == EMFILE);
  CHECK(during == before);
  const int one = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  CHECK(open_fds() == before + 1);
  ::close(one);
}

TEST_CASE("only the catalogue's own families can be registered from it", "[observe]") {
  metric::Registry registry;
  CHECK_THROWS_AS(observe::register_metric(registry, "no_such_total"), std::invalid_argument);
  CHECK_THROWS_AS(observe::register_metric(registry, "fiberd_fibers"), std::invalid_argument);
}

TEST_CASE("promtool finds nothing to say", "[observe]") {
  metric::Registry registry;
  const observe::Exporter exporter(registry, some_stats, "1.2.3");
  use_some(registry);
  char path[] = "/tmp/fiberd-metrics-XXXXXX";
  const int fd = mkstemp(path);
  REQUIRE(fd >= 0);
  FILE* file = fdopen(fd, "w");
  REQUIRE(file != nullptr);
  const std::string page = exporter.render();
  CHECK(std::fwrite(page.data(), 1, page.size(), file) == page.size());
  std::fclose(file);
  FILE* tool = popen((std::string("promtool check metrics 2>&1 <") + path).c_str(), "r");
  REQUIRE(tool != nullptr);
  std::string said;
  char buffer[512];
  while (std::fgets(buffer, sizeof buffer, tool) != nullptr) said += buffer;
  CHECK(pclose(tool) == 0);
  CHECK(said == "");
  std::remove(path);
}

TEST_CASE("docs/metrics.md is generated from the catalogue", "[observe]") {
  // To renew it: FIBERD_UPDATE_DOCS=1 in the environment of this test.
  if (std::getenv("FIBERD_UPDATE_DOCS") != nullptr)
    std::ofstream(FIBERD_SOURCE_DIR "/docs/metrics.md") << observe::render_metrics_markdown();
  CHECK(repository_file("docs/metrics.md") == observe::render_metrics_markdown());
}
