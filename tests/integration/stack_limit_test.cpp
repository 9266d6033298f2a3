// The daemon when the stacks for its fibers are out: the admin listener answers, who is refused is counted, and a stop
// drains. At the limit that guards by mprotect have (Debian 12's kernel; here with a stand-in for vm.max_map_count).
#include <signal.h>

#include <catch2/catch.hpp>
#include <memory>
#include <thread>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

const char* const kEchoes =
    "runtime: {gomaxprocs: 1}\n"  // another Processor might have the right to some stacks left, and be asked by chance
    "admin: {address: \"127.0.0.1:0\"}\n"
    "shutdown: {timeout: 20s}\n"
    "listeners:\n"
    "  - name: web\n"
    "    address: \"127.0.0.1:0\"\n"
    "    http: {timeouts: {body: 60s}, limits: {body_rate: 0}, routes: [{path: /echo, echo: {}}]}\n"
    "  - {name: tcp, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n";

/// One byte there and back.
bool echoes(HttpClient& client) {
  if (!client.send("x")) return false;
  while (client.rest().empty() && client.more()) {
  }
  return client.rest() == "x";
}

}  // namespace

TEST_CASE("when the stacks are out the admin listener answers, refusals are counted, and SIGTERM drains",
          "[integration][daemon][stacks]") {
  Daemon::Options options;
  options.environment = {{"FIBERDEBUG", "guard=mprotect,max_map_count=1500"}};
  Daemon daemon(kEchoes, options);
  CHECK(daemon.metric("fiberd_stacks_limit") == (1500 - 187) / 2);

  // A request that is under way, then connections until one is refused.
  HttpClient request(daemon.port("web"));
  request.send("POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhello");
  REQUIRE(eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1.0; }));
  std::vector<std::unique_ptr<HttpClient>> clients;
  const auto fill = [&] {
    bool refused = false;
    while (!refused && clients.size() < 6000) {
      auto client = std::make_unique<HttpClient>(daemon.port("tcp"));
      refused = !echoes(*client);
      if (!refused) clients.push_back(std::move(client));
    }
    return refused;
  };
  // A fiber that was there for a moment only leaves its stack to another one: until those that answer have to use what
  // is set aside.
  REQUIRE(eventually([&] {
    REQUIRE(fill());
    return daemon.metric("fiberd_stacks_set_aside{state=\"in_use\"}").value_or(0) >= 1;
  }));
  CHECK(clients.size() > 300);

  // A liveness probe, again and again, as long as it is so.
  for (int i = 0; i < 20; ++i) CHECK(daemon.admin_status("/healthz") == 200);
  CHECK(daemon.admin_status("/readyz") == 200);
  CHECK(daemon.metric("fiberd_fibers_refused_total{reason=\"out_of_stacks\"}").value_or(0) >= 1);
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"tcp\",reason=\"fibers\"}").value_or(0) >= 1);
  CHECK(daemon.metric("fiberd_stacks_set_aside{state=\"in_use\"}").value_or(0) >= 1);  // the answer's own
  CHECK(daemon.metric("fiberd_bugs_total") == 0.0);
  // The fiber of an answer from before may have ended only now, and have left its stack.
  CHECK(eventually([&] {
    HttpClient late(daemon.port("web"));
    late.send(get("/echo"));
    if (!late.receive().has_value()) return true;
    (void)fill();
    return false;
  }));
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"fibers\"}").value_or(0) >= 1);

  daemon.process().signal(SIGTERM);
  REQUIRE(daemon.wait_for_log("SIGTERM"));
  CHECK(eventually([&] { return daemon.admin_status("/readyz") == 503; }));
  // Nobody was cut: what is under way is finished, what was sent is echoed.
  request.send("world");
  const auto answer = request.receive();
  CHECK((answer.has_value() && answer->status == 200 && answer->body == "helloworld"));
  clients.clear();
  CHECK(daemon.process().wait() == 0);
  INFO(daemon.log());
  CHECK(daemon.log().find("terminate") == std::string::npos);
  CHECK(daemon.log().find("were cut") == std::string::npos);
  CHECK(daemon.wait_for_log("stopped"));
}
