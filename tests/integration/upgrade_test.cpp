// A new process follows the one that serves: without a request lost where all goes well, and without a trace where
// anything does not.
#include <dirent.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "tests/integration/configurations.hpp"
#include "tests/integration/upgrades.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::size_t descriptors_of(pid_t pid) {
  const std::filesystem::directory_iterator all("/proc/" + std::to_string(pid) + "/fd");
  return static_cast<std::size_t>(std::distance(begin(all), end(all)));
}

}  // namespace

TEST_CASE("an upgrade: another process serves at the same addresses, and the old one ends", "[integration][upgrade]") {
  const Orphanage orphans;
  Daemon daemon(two("shutdown: {idle: 20s, timeout: 30s}\n"));
  HttpClient kept(daemon.port("web"));
  REQUIRE(kept.ask(get("/")).value().body == "hello");
  const std::size_t descriptors = descriptors_of(daemon.process().pid());
  const Upgraded u = upgrade(daemon);
  INFO(whole(u) << daemon.log());
  REQUIRE(u.finished.code == 0);
  REQUIRE(u.pid > 0);
  CHECK(u.pid != daemon.process().pid());
  // A connection of before is told that it ends.
  const auto last = kept.ask(get("/"));
  CHECK((last && last->body == "hello" && last->field("Connection") == "close"));
  CHECK(daemon.process().wait() == 0);
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  CHECK(daemon.admin_status("/readyz") == 200);
  CHECK(daemon.metric("fiberd_upgrades_total{result=\"success\"}") == 0);  // of the new process
  CHECK(daemon.wait_for_log("handed over: this process serves alone"));
  // It has what a process has that was started so, and nothing of its predecessor's.
  CHECK(eventually([&] { return descriptors_of(u.pid) <= descriptors; }));
  CHECK(read_file("/proc/" + std::to_string(u.pid) + "/comm") == "fiberd\n");
  // And can be followed itself, by a signal.
  (void)::kill(u.pid, SIGUSR2);
  REQUIRE(daemon.wait_for_log("SIGUSR2"));
  CHECK(Orphanage::wait(u.pid) == 0);
  const pid_t third = last_successor(daemon);
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  (void)::kill(third, SIGTERM);
  CHECK(Orphanage::wait(third) == 0);
  // The last one has let the port go as any daemon does.
  CHECK_THROWS(HttpClient(daemon.port("web")));
}

TEST_CASE("a Unix socket passes with its name, and goes with the last process", "[integration][upgrade]") {
  const Orphanage orphans;
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/web.sock";
  Daemon daemon(with_listeners("  - {name: web, address: \"unix:" + path + "\", http: {routes: [" + says("/", "hello") +
                               "]}}\n  - {name: stats, address: \"127.0.0.1:0\", aggregate: {protocol: both}}\n"));
  struct stat before {};
  REQUIRE(::stat(path.c_str(), &before) == 0);
  const Upgraded u = upgrade(daemon);
  INFO(whole(u) << daemon.log());
  REQUIRE(u.finished.code == 0);
  CHECK(daemon.process().wait() == 0);
  struct stat after {};
  REQUIRE(::stat(path.c_str(), &after) == 0);
  CHECK(after.st_ino == before.st_ino);
  (void)::kill(u.pid, SIGTERM);
  CHECK(Orphanage::wait(u.pid) == 0);
  CHECK(::stat(path.c_str(), &after) != 0);
}

TEST_CASE("a Unix socket that the new configuration has not any more goes with its file", "[integration][upgrade]") {
  const Orphanage orphans;
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/file.sock";
  Daemon daemon(with_listeners(http_listener("web", says("/", "hello")) + "  - {name: file, address: \"unix:" + path +
                               "\", tcp: {echo: {}}}\n"));
  REQUIRE(std::filesystem::exists(path));
  daemon.write_config(two());
  const Upgraded u = upgrade(daemon);
  INFO(whole(u) << daemon.log());
  REQUIRE(u.finished.code == 0);
  CHECK(daemon.process().wait() == 0);
  CHECK(eventually([&] { return !std::filesystem::exists(path); }));
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
}

TEST_CASE("a program that crashes, ends, hangs or is none: the old process goes on, and says why",
          "[integration][upgrade]") {
  const Orphanage orphans;
  const TemporaryDirectory directory;
  const Known known;
  Daemon daemon(known.configuration("upgrade: {timeout: 1s}\n"), Known::options());
  const auto fails = [&](const std::string& binary, int code, const std::string& text) {
    const Upgraded u = upgrade(daemon, known.naming(binary));
    INFO(binary << ": " << whole(u));
    CHECK(u.finished.code == code);
    CHECK(u.finished.errors.find(text) != std::string::npos);
    CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
    CHECK(daemon.admin_status("/readyz") == 200);
  };
  fails("/bin/true", 1, "the new process ended with exit code 0");
  fails("/bin/false", 1, "the new process ended with exit code 1");
  fails(FIBERD_NEVER_READY, 1, "in time (upgrade.timeout)");
  fails(FIBERD_DIES_SERVING, 1, "the new process ended as it was to take over");
  fails(directory.write("text", "no program"), 2, "may not be executed");
  fails(directory.path() + "/none", 2, "No such file or directory");
  fails(directory.path(), 2, "is no regular file");
  const std::string open_to_all = copy_of_program(directory, "/bin/true");
  std::filesystem::permissions(open_to_all, std::filesystem::perms(0777));
  fails(open_to_all, 2, "may be written to by others");
  if (::geteuid() == 0) {
    std::filesystem::permissions(open_to_all, std::filesystem::perms(0755));
    REQUIRE(::chown(open_to_all.c_str(), 12345, 12345) == 0);
    fails(open_to_all, 2, "belongs neither to root nor");
  }
  CHECK(daemon.metric("fiberd_upgrades_total{result=\"failure\"}") == 4);
  CHECK(daemon.metric("fiberd_upgrades_total{result=\"refused\"}").value_or(0) >= 4);
  CHECK(daemon.wait_for_log("upgrade failed: the new process ended with exit code 0"));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a configuration that the new process refuses leaves the old one serving", "[integration][upgrade]") {
  const Orphanage orphans;
  Daemon daemon(two());
  daemon.write_config("listeners: [{name: web, adress: 1}]\n");
  const Upgraded u = upgrade(daemon);
  INFO(whole(u));
  CHECK(u.finished.code == 1);
  CHECK(u.finished.errors.find("the configuration is refused") != std::string::npos);
  CHECK(u.finished.errors.find("adress") != std::string::npos);
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  // An address that somebody else has: known only when it is bound.
  HttpServer other({});
  daemon.write_config(with_listeners(http_listener("web", says("/", "hello")) +
                                     http_listener("other", says("/", "x"), {}, at(other.port()))));
  const Upgraded taken = upgrade(daemon);
  INFO(whole(taken));
  CHECK(taken.finished.code == 1);
  CHECK(taken.finished.errors.find("cannot bind 127.0.0.1:" + std::to_string(other.port())) != std::string::npos);
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("two upgrades at once, and one while the daemon stops", "[integration][upgrade]") {
  const Orphanage orphans;
  const Known known;
  Daemon daemon(known.configuration("upgrade: {timeout: 1h}\n"), Known::options());
  Process first({.arguments = upgrade_command(daemon, known.naming(FIBERD_NEVER_READY))});
  REQUIRE(daemon.wait_for_log("is started"));
  const Upgraded second = upgrade(daemon, known.naming(FIBERD_BINARY));
  INFO(whole(second));
  CHECK(second.finished.code == 2);
  CHECK(second.finished.errors.find("there is one under way") != std::string::npos);
  HttpClient slow(daemon.port("web"));
  REQUIRE(slow.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"));
  REQUIRE(eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1.0; }));
  daemon.process().signal(SIGTERM);
  CHECK(first.wait() == 1);
  CHECK(first.errors().find("the daemon is stopping") != std::string::npos);
  CHECK(slow.send("world"));
  CHECK(slow.receive().value().body == "helloworld");
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("a reload that is asked for during an upgrade is done by who serves then", "[integration][upgrade]") {
  const Orphanage orphans;
  const Known known;
  Daemon daemon(known.configuration("upgrade: {timeout: 3s}\n"), Known::options());
  Process first({.arguments = upgrade_command(daemon, known.naming(FIBERD_NEVER_READY))});
  REQUIRE(daemon.wait_for_log("is started"));
  daemon.write_config(known.configuration().replace(known.configuration().find("hello"), 5, "again"));
  daemon.process().signal(SIGHUP);
  CHECK(first.wait() == 1);
  CHECK(daemon.wait_for_log("reloaded "));
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "again");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("SIGKILL at any moment of an upgrade: whoever is left serves, and the next start is clean",
          "[integration][upgrade]") {
  const Orphanage orphans;
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/web.sock";
  const std::string yaml = with_listeners("  - {name: web, address: \"unix:" + path + "\", http: {routes: [" +
                                          says("/", "hello") + "]}}\n" + http_listener("tcp", says("/", "hello")));
  const auto serves = [&](const Daemon& daemon) {
    try {
      const auto answer = HttpClient(daemon.port("tcp"), 0, 2s).ask(get("/"));
      return answer && answer->body == "hello";
    } catch (const std::exception&) {
      return false;
    }
  };
  unsigned both = 0;
  for (int i = 0; i < 8; ++i) {
    INFO("round " << i);
    Daemon daemon(yaml);
    const pid_t old = daemon.process().pid();
    daemon.process().signal(SIGUSR2);
    pid_t next = 0;
    (void)eventually([&] {
      if (const std::vector<pid_t> started = children_of(old); !started.empty()) next = started.front();
      return next != 0 || !daemon.process().running();
    });
    // Another moment each time, before the new one is there and behind its taking over; which one it is does not
    // matter.
    (void)eventually([] { return false; }, std::chrono::milliseconds(i * 15));
    if (next != 0) {
      ++both;
      const bool kill_old = i % 2 == 1;
      (void)::kill(kill_old ? old : next, SIGKILL);
      int status = 0;
      const auto is_gone = [&](pid_t pid) {
        return pid == old ? !daemon.process().running() : ::waitpid(pid, &status, WNOHANG) != 0;
      };
      // Who is left serves; or there is nobody left, since the old one had handed over by then, or not yet all.
      CHECK(eventually([&] { return serves(daemon) || is_gone(kill_old ? next : old); }, 30s));
    }
    daemon.process().signal(SIGKILL);
    (void)daemon.process().wait();
    Orphanage::end_all();  // also one that was started since
  }
  CHECK(both >= 4);
  Daemon last(yaml);
  CHECK(serves(last));
  CHECK(last.stop() == 0);
  struct stat st {};
  CHECK(::stat(path.c_str(), &st) != 0);
}

TEST_CASE("options of the command that are wrong", "[integration][upgrade]") {
  for (const char* const time : {"1ms", "2h", "x", "-1s"}) {
    const Finished finished = run({FIBERD_BINARY, "upgrade", "--address", "127.0.0.1:1", "--rollback-after", time});
    CHECK(finished.code == 2);
    CHECK(finished.errors.find("a time between 1s and 1h") != std::string::npos);
  }
  CHECK(run({FIBERD_BINARY, "upgrade", "--address", "127.0.0.1:1"}).code == 1);
  CHECK(run({FIBERD_BINARY, "upgrade", "--set", "a=b"}).code == 2);
}

TEST_CASE("PID 1 of a container is not followed, and says why", "[integration][upgrade]") {
  const TemporaryDirectory directory;
  if (run({"unshare", "-f", "-p", "true"}).code != 0) {
    WARN("skipped: no namespace of processes is to be had here");
    return;
  }
  Process process({.arguments = {"unshare", "-f", "-p", "--kill-child", FIBERD_BINARY, "run", "-c",
                                 directory.write("fiberd.yaml", two())}});
  REQUIRE(eventually([&] { return process.errors().find(" started: ") != std::string::npos; }, 30s));
  const std::string log = process.errors();
  const std::size_t name = log.find(": admin (");
  const std::string admin = log.substr(log.rfind(' ', name) + 1, name - log.rfind(' ', name) - 1);
  const Finished asked = run({FIBERD_BINARY, "upgrade", "--address", admin});
  INFO(asked.errors);
  CHECK(asked.code == 2);
  CHECK(asked.errors.find("this process is PID 1") != std::string::npos);
  process.signal(SIGKILL);
}
