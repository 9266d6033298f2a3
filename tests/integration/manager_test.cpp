// The daemon as a process of a service manager: what it tells at its start, its reloads, while it serves, and at its
// end.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <map>
#include <string>

#include "daemon/journal.hpp"
#include "tests/integration/configurations.hpp"
#include "tests/integration/conversations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/notify_socket.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

const std::string kStuckConfig = with_listeners(http_listener(
    "web", "{path: /compute, handler: compute}, {path: /release, handler: release}, {path: /wedge, handler: wedge}"));

/// What has come so far is not looked at.
void drain(const NotifySocket& manager) {
  while (!manager.next(nullptr, 0ms).empty()) {
  }
}

void begin(HttpClient& client, const std::string& path) { client.send("GET " + path + " HTTP/1.1\r\nHost: a\r\n\r\n"); }

}  // namespace

TEST_CASE("a service manager is told that the daemon serves, reloads, how it is doing, and that it stops",
          "[integration][daemon][manager]") {
  const TemporaryDirectory directory;
  const NotifySocket manager(directory.path() + "/notify");
  Daemon daemon(web(), {.environment = {{"NOTIFY_SOCKET", manager.address()}}});
  CHECK(manager.next() == "READY=1\nSTATUS=serving");
  HttpClient kept(daemon.port("web"));
  CHECK(ask(kept) == "200 hello");
  const std::string first = manager.await("STATUS=serving: ");  // perhaps of before the client came
  const bool before = first.find("STATUS=serving: 0 connections, ") == 0;
  CHECK((before || first.find("STATUS=serving: 1 connections, ") == 0));
  CHECK(first.find(" fibers") != std::string::npos);
  CHECK(manager.await(" requests/s, 1 connections, ").find("STATUS=serving: ") == 0);

  CHECK(reload(daemon).status == 200);
  const std::string begins = manager.await("RELOADING=1");
  REQUIRE(begins.find("\nMONOTONIC_USEC=") != std::string::npos);
  const auto stamp = std::stoull(begins.substr(begins.find("MONOTONIC_USEC=") + 15));
  CHECK(std::chrono::microseconds(stamp) <= std::chrono::steady_clock::now().time_since_epoch());
  CHECK(std::chrono::microseconds(stamp) > std::chrono::steady_clock::now().time_since_epoch() - 10min);
  CHECK(manager.next().find("READY=1\nSTATUS=serving; reloaded at ") == 0);
  CHECK(reload(daemon, "listeners: 7\n").status == 422);
  CHECK_FALSE(manager.await("RELOADING=1").empty());
  const std::string refused = manager.next();
  CHECK(refused.find("READY=1\nSTATUS=serving; reload refused at ") == 0);
  CHECK(refused.find("fiberd.yaml:1:") != std::string::npos);
  CHECK_FALSE(manager.await("; reload refused at ").empty());  // and stays told

  daemon.process().signal(SIGTERM);
  const std::string stops = manager.await("STOPPING=1");
  CHECK(stops.find("STOPPING=1\nEXTEND_TIMEOUT_USEC=") == 0);
  CHECK(stops.find("\nSTATUS=stopping") != std::string::npos);
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("a stop that takes its time has the service manager wait for it, to the stop's own end",
          "[integration][daemon][manager]") {
  const TemporaryDirectory directory;
  const NotifySocket manager(directory.path() + "/notify");
  Daemon daemon(kStuckConfig + "shutdown: {timeout: 20s}\n",
                {.environment = {{"NOTIFY_SOCKET", manager.address()}}, .program = FIBERD_STUCK});
  HttpClient client(daemon.port("web"));
  begin(client, "/compute");
  REQUIRE(daemon.wait_for_log("computing now"));
  HttpClient release(daemon.port("web"));
  begin(release, "/nowhere");  // kept open
  REQUIRE(release.receive());
  daemon.process().signal(SIGTERM);
  CHECK_FALSE(manager.await("STOPPING=1").empty());
  for (int i = 0; i < 2; ++i)
    CHECK(manager.await("STATUS=stopping: ").find("EXTEND_TIMEOUT_USEC=1") ==
          0);  // 15 s, as long as there are that many
  daemon.process().signal(SIGKILL);
  CHECK(daemon.process().wait() == 128 + SIGKILL);
}

TEST_CASE("the watchdog is fed while a fiber computes that can be handed off, and starves when one cannot",
          "[integration][daemon][manager]") {
  const TemporaryDirectory directory;
  const NotifySocket manager(directory.path() + "/notify");
  Daemon daemon(
      kStuckConfig,
      {.environment = {{"NOTIFY_SOCKET", manager.address()}, {"WATCHDOG_USEC", "400000"}, {"GOMAXPROCS", "1"}},
       .program = FIBERD_STUCK});
  CHECK_FALSE(manager.await("WATCHDOG=1").empty());
  HttpClient computing(daemon.port("web"));
  begin(computing, "/compute");
  REQUIRE(daemon.wait_for_log("computing now"));
  drain(manager);
  for (int i = 0; i < 3; ++i) CHECK_FALSE(manager.await("WATCHDOG=1").empty());
  CHECK(ask(daemon.port("web"), "/release") == "200 released");
  CHECK(answer_of(computing) == "200 computed");

  HttpClient wedging(daemon.port("web"));
  begin(wedging, "/wedge");
  REQUIRE(daemon.wait_for_log("1 Processors take up no fiber"));
  drain(manager);
  CHECK(manager.await("WATCHDOG=1", 1s).empty());
  // What systemd does then.
  daemon.process().signal(SIGABRT);
  CHECK(daemon.process().wait() == 128 + SIGABRT);
  const std::string log = daemon.log();
  const std::size_t begins = log.find("SIGABRT: all fibers");
  REQUIRE(begins != std::string::npos);
  CHECK(log.find("[running, pinned, on thread", begins) != std::string::npos);
}

TEST_CASE("a NOTIFY_SOCKET that points nowhere is one warning", "[integration][daemon][manager]") {
  Daemon daemon(web(), {.environment = {{"NOTIFY_SOCKET", "/nowhere/at/all"}, {"WATCHDOG_USEC", "1000000"}}});
  CHECK(ask(daemon.port("web")) == "200 hello");
  CHECK(reload(daemon).status == 200);
  CHECK(daemon.stop() == 0);
  const std::string log = daemon.log();
  const std::size_t warned = log.find("warn");
  REQUIRE(warned != std::string::npos);
  CHECK(log.find("NOTIFY_SOCKET=/nowhere/at/all: nobody listens there", warned) != std::string::npos);
  CHECK(log.find("NOTIFY_SOCKET", log.find("NOTIFY_SOCKET", warned) + 1) == std::string::npos);
}

TEST_CASE("where the journal's socket is missing its lines are standard error's, with priorities and without a time",
          "[integration][daemon][manager]") {
  if (::access(std::string(fiberd::daemon::kJournalSocket).c_str(), F_OK) == 0) {
    WARN("skipped: this machine has a journal, which would be written to");
    return;
  }
  const TemporaryDirectory directory;
  const std::string errors = directory.path() + "/errors";
  const int fd = ::open(errors.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  struct stat status {};
  REQUIRE(::fstat(fd, &status) == 0);
  const std::map<std::string, std::string> environment{
      {"JOURNAL_STREAM", std::to_string(status.st_dev) + ":" + std::to_string(status.st_ino)}};
  const std::string good = directory.write("good.yaml", web());
  Process daemon({.arguments = {FIBERD_BINARY, "-c", good}, .environment = environment, .err = fd});
  CHECK(eventually([&] { return read_file(errors).find("\n<6>fiberd ") != std::string::npos; }));
  CHECK(read_file(errors).starts_with("<6>configuration: "));
  daemon.signal(SIGHUP);
  CHECK(eventually([&] { return read_file(errors).find("\n<6>reloaded ") != std::string::npos; }));
  directory.write("good.yaml", "listeners: 7\n");
  daemon.signal(SIGHUP);
  CHECK(eventually([&] { return read_file(errors).find("\n<3>reload refused") != std::string::npos; }));
  daemon.signal(SIGTERM);
  CHECK(daemon.wait() == 0);
  // Before there is a log.
  Process refused({.arguments = {FIBERD_BINARY, "-c", good}, .environment = environment, .err = fd});
  CHECK(refused.wait() == 2);
  const std::string text = read_file(errors);
  CHECK(text.find("\n<3>" + good + ":1:", text.find("<6>stopped")) != std::string::npos);
  ::close(fd);
}
