// What the daemon does at each level of memory, and that GOMAXPROCS follows its quota: by a made-up control group,
// whose figures the test writes.
#include <catch2/catch.hpp>
#include <cstdint>
#include <map>
#include <string>

#include "tests/integration/configurations.hpp"
#include "tests/integration/conversations.hpp"
#include "tests/support/fake_host.hpp"

using namespace fiberd::test;

namespace {

class Group {
 public:
  Group() {
    host_.write("proc/mountinfo", kV2);
    host_.write("proc/cgroup", "0::/a\n");
    write("memory.max", "1000000000\n");
    stalled_us(0);
    charge(100);
  }
  void write(const std::string& file, const std::string& text) const {
    host_.write("root/sys/fs/cgroup/a/" + file, text);
  }
  /// Time that some tasks have waited for memory so far.
  void stalled_us(std::uint64_t total) const {
    write("memory.pressure", "some avg10=0.00 avg60=0.00 avg300=0.00 total=" + std::to_string(total) +
                                 "\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n");
  }
  /// Thousandths of the limit, beside file pages that can be dropped.
  void charge(unsigned share) const {
    write("memory.stat", "anon 1\ninactive_file 200000000\nactive_file 100000000\n");
    write("memory.current", std::to_string(share * 1'000'000ULL + 300'000'000) + "\n");
  }
  [[nodiscard]] std::map<std::string, std::string> environment() const {
    return {{"FIBERDEBUG", "cgroup=" + host_.directory()}};
  }

 private:
  FakeHost host_;
};

const std::string kPriorityRoutes = with_listeners(
    http_listener("web",
                  "{path: /low, priority: low, respond: {body: low}}, {path: /, respond: {body: normal}}, "
                  "{path: /high, priority: high, respond: {body: high}}, {path: /post, echo: {}}") +
    "  - {name: echo, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n");

bool at_level(const Daemon& daemon, int level) {
  return eventually([&] { return daemon.metric("fiberd_memory_level") == level; });
}

/// Whether a new TCP connection is served.
bool serves_tcp(const Daemon& daemon) {
  HttpClient client(daemon.port("echo"));
  return client.send("hello") && client.more() && client.rest() == "hello";
}

std::string status_of(const Daemon& daemon, const std::string& path) {
  return ask(daemon.port("web"), path).substr(0, 3);
}

}  // namespace

TEST_CASE("the lowest priority is shed first, and the admin never", "[integration][memory]") {
  const Group group;
  Daemon daemon(kPriorityRoutes, {.environment = group.environment()});
  CHECK(daemon.wait_for_log("memory limit 953 MiB"));
  HttpClient kept(daemon.port("web"));
  HttpClient kept_echo(daemon.port("echo"));
  CHECK(ask(kept) == "200 normal");
  REQUIRE(kept_echo.send("a"));
  REQUIRE(kept_echo.more());

  group.charge(850);
  REQUIRE(at_level(daemon, 1));
  CHECK(status_of(daemon, "/low") == "200");
  CHECK(eventually([&] { return daemon.metric("fiberd_memory_trims_total").value_or(0) >= 1; }));

  group.charge(910);
  REQUIRE(at_level(daemon, 2));
  {
    HttpClient client(daemon.port("web"));
    client.send("GET /low HTTP/1.1\r\nHost: a\r\n\r\n");
    const auto answer = client.receive();
    REQUIRE(answer);
    CHECK(answer->status == 503);
    CHECK(answer->field("Retry-After") == "2");
    CHECK(ask(client, "/") == "200 normal");  // the connection goes on
  }
  CHECK(serves_tcp(daemon));

  group.charge(955);
  REQUIRE(at_level(daemon, 3));
  CHECK(status_of(daemon, "/low") == "503");
  CHECK(status_of(daemon, "/") == "503");
  CHECK(status_of(daemon, "/high") == "200");
  {
    // What is refused is not read.
    HttpClient client(daemon.port("web"));
    client.send("POST /post HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n");
    CHECK(answer_of(client).substr(0, 3) == "503");
  }
  CHECK_FALSE(serves_tcp(daemon));
  // Who was let in before is served.
  REQUIRE(kept_echo.send("b"));
  CHECK(kept_echo.more());
  CHECK(kept_echo.rest() == "ab");
  CHECK(daemon.admin_status("/healthz") == 200);

  group.charge(1000);
  REQUIRE(at_level(daemon, 5));
  CHECK(status_of(daemon, "/high") == "not");  // "nothing": closed at once
  CHECK(daemon.admin_status("/healthz") == 200);
  group.charge(965);
  REQUIRE(at_level(daemon, 4));
  CHECK(status_of(daemon, "/high") == "503");

  CHECK(daemon.admin("/metrics").find("fiberd_memory_charged_bytes{of=\"cgroup\"} 965000000") != std::string::npos);
  CHECK(daemon.metric("fiberd_memory_shed_total{priority=\"low\"}").value_or(-1) == 2);
  CHECK(daemon.metric("fiberd_memory_shed_total{priority=\"normal\"}").value_or(-1) == 2);
  CHECK(daemon.metric("fiberd_memory_shed_total{priority=\"high\"}").value_or(-1) == 1);
  CHECK(daemon.metric("fiberd_http_refused_total{listener=\"web\",reason=\"memory\"}").value_or(-1) == 5);
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"memory\"}").value_or(-1) == 1);
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"echo\",reason=\"memory\"}").value_or(-1) == 1);

  // The limit is raised: a second later all is as it was.
  group.write("memory.max", "4000000000\n");
  REQUIRE(at_level(daemon, 0));
  CHECK(status_of(daemon, "/low") == "200");
  CHECK(serves_tcp(daemon));
  const std::string log = daemon.log();
  for (const char* const line : {"memory: last after ", "memory: shed_high after last: ", "memory: normal after "})
    CHECK(log.find(line) != std::string::npos);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("the governor can be off, and its steps elsewhere", "[integration][memory]") {
  const Group group;
  group.charge(900);
  const std::string listeners = kPriorityRoutes.substr(kPriorityRoutes.find("listeners:"));
  Daemon daemon(kAdmin + "memory: {governor: off}\n" + listeners, {.environment = group.environment()});
  CHECK(status_of(daemon, "/low") == "200");
  CHECK(serves_tcp(daemon));
  CHECK(daemon.metric("fiberd_memory_level") == 0);
  CHECK(reload(daemon, kAdmin + "memory: {trim_at: 30, shed_at: 60}\n" + listeners).status == 200);
  REQUIRE(at_level(daemon, 4));
  CHECK(status_of(daemon, "/high") == "503");
  CHECK(reload(daemon, kAdmin + "memory: {governor: off}\n" + listeners).status == 200);
  REQUIRE(at_level(daemon, 0));
  CHECK(status_of(daemon, "/low") == "200");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("time lost waiting for memory is a reason to give back", "[integration][memory]") {
  const Group group;
  Daemon daemon(kPriorityRoutes, {.environment = group.environment()});
  REQUIRE(at_level(daemon, 0));
  group.stalled_us(3'600'000'000);
  REQUIRE(at_level(daemon, 1));
  CHECK(eventually([&] { return daemon.metric("fiberd_memory_trims_total").value_or(0) >= 1; }));
  CHECK(daemon.metric("fiberd_memory_stalled_seconds_total{tasks=\"some\"}") == 3600);
  CHECK(status_of(daemon, "/low") == "200");
  CHECK(at_level(daemon, 0));  // no more of it
  CHECK(daemon.stop() == 0);
}

TEST_CASE("GOMAXPROCS of a daemon follows cpu.max, and says so", "[integration][gomaxprocs]") {
  const Group group;
  group.write("cpu.max", "max 100000\n");
  auto environment = group.environment();
  environment["FIBERDEBUG"] += ",cpus=2";
  environment["GOMAXPROCS"] = "";
  Daemon daemon(kPriorityRoutes, {.environment = environment});
  REQUIRE(daemon.metric("fiberd_sched_gomaxprocs") == 2);
  group.write("cpu.max", "50000 100000\n");
  CHECK(eventually([&] { return daemon.metric("fiberd_sched_gomaxprocs") == 1; }));
  CHECK(daemon.wait_for_log("GOMAXPROCS is 1 now, 2 before (cgroup quota 0.50)"));
  CHECK(status_of(daemon, "/") == "200");
  group.write("cpu.max", "max 100000\n");
  CHECK(daemon.wait_for_log("GOMAXPROCS is 2 now, 1 before (affinity)"));
  CHECK(daemon.metric("fiberd_sched_gomaxprocs") == 2);
  CHECK(daemon.metric("fiberd_gomaxprocs_changes_total") == 2);
  CHECK(daemon.stop() == 0);
}
