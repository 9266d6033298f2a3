// How upgrades end that something comes between: a stop, a reload, the end of the new process; and what a service
// manager sees of it.
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <string>
#include <vector>

#include "tests/integration/upgrades.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/notify_socket.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

/// A service manager: the test is it, for those that it starts are its children.
class Manager {
 public:
  Manager() : notify_(directory_.path() + "/notify") {}
  [[nodiscard]] Daemon::Options options() const {
    return {.environment = {{"NOTIFY_SOCKET", notify_.address()}, {"MANAGERPID", std::to_string(::getpid())}}};
  }
  [[nodiscard]] const NotifySocket& notify() const noexcept { return notify_; }
  /// Which process is the main one from now on. Whoever said so waits until release().
  [[nodiscard]] pid_t main_process() {
    const std::string text = notify_.await("MAINPID=", 60s);
    std::string barrier;
    for (int i = 0; i < 4 && held_.empty(); ++i) barrier = notify_.next(&held_, 10s);  // a status may come between
    REQUIRE(barrier == "BARRIER=1");
    return text.empty() ? 0 : static_cast<pid_t>(std::atoi(text.c_str() + text.find("MAINPID=") + 8));
  }
  void release() {
    for (const int fd : held_) ::close(fd);
    held_.clear();
  }
  ~Manager() { release(); }
  Manager(const Manager&) = delete;
  Manager& operator=(const Manager&) = delete;

 private:
  TemporaryDirectory directory_;
  NotifySocket notify_;
  std::vector<int> held_;
};

/// A request whose end is not sent yet.
class Slow {
 public:
  explicit Slow(const Daemon& daemon) : client_(daemon.port("web")) {
    REQUIRE(client_.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"));
    REQUIRE(
        eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1.0; }, 30s));
  }
  [[nodiscard]] bool ends_well() {
    const bool sent = client_.send("world");
    const auto answer = client_.receive();
    return sent && answer && answer->body == "helloworld";
  }

 private:
  HttpClient client_;
};

const std::string kPatient = "shutdown: {timeout: 60s}\n";
const std::string kCounting = "  - {name: stats, address: \"127.0.0.1:0\", aggregate: {protocol: udp}}\n";

void send_to_stats(const Daemon& daemon, int count) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(daemon.port("stats"));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < count; ++i)
    REQUIRE(::sendto(fd, "a:1|c", 5, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 5);
  ::close(fd);
}

bool has_counted(const Daemon& daemon, double count) {
  return eventually([&] { return daemon.metric("fiberd_aggregate_datagrams_total{listener=\"stats\"}") == count; },
                    30s);
}

}  // namespace

TEST_CASE("under a service manager the new process is the manager's child, as the old one was",
          "[integration][upgrade]") {
  const Orphanage orphans;
  Manager manager;
  Daemon daemon(two(), manager.options());
  pid_t old = daemon.process().pid();
  for (int i = 0; i < 2; ++i) {
    INFO("upgrade " << i + 1 << daemon.log());
    (void)::kill(old, SIGUSR2);
    const pid_t next = manager.main_process();
    REQUIRE(next > 1);
    CHECK(next != old);
    CHECK(parent_of(next) == ::getpid());  // while the old one is there
    manager.release();
    if (i == 0)
      CHECK(daemon.process().wait() == 0);
    else
      CHECK(Orphanage::wait(old) == 0);
    old = next;
  }
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  (void)::kill(old, SIGTERM);
  CHECK(Orphanage::wait(old) == 0);
}

TEST_CASE("under a service manager, too, the log says what a failed new process came to", "[integration][upgrade]") {
  const Orphanage orphans;
  const Manager manager;
  const Known known;
  Daemon::Options options = manager.options();
  options.token = Known::options().token;
  Daemon daemon(known.configuration("upgrade: {timeout: 1s}\n"), options);
  const auto fails = [&](const std::string& binary) {
    Process asking({.arguments = upgrade_command(daemon, known.naming(binary))});
    CHECK(eventually(
        [&] {
          Orphanage::reap_others({daemon.process().pid(), asking.pid()});
          return !asking.running();
        },
        60s));
    CHECK(asking.wait() == 1);
    return asking.errors();
  };
  const auto ended_with = [](const std::string& text, const std::string& what) {
    UNSCOPED_INFO(text);
    return text.find("ended with " + what) != std::string::npos ||
           text.find("ended with what the service manager alone knows") != std::string::npos;  // before Linux 6.15
  };
  CHECK(ended_with(fails("/bin/false"), "exit code 1"));
  CHECK(ended_with(fails(FIBERD_NEVER_READY), "signal 15"));
  // And what is none at all: nothing is left behind.
  const TemporaryDirectory directory;
  const std::string text = copy_of_program(directory, daemon.config_file());
  CHECK(fails(text).find("cannot be run: Exec format error") != std::string::npos);
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a stop that comes as the main process changes stops both, and each finishes what it has",
          "[integration][upgrade]") {
  const Orphanage orphans;
  Manager manager;
  Daemon daemon(two(kPatient), manager.options());
  Slow slow(daemon);
  daemon.process().signal(SIGUSR2);
  const pid_t next = manager.main_process();
  REQUIRE(next > 1);
  daemon.process().signal(SIGTERM);
  REQUIRE(daemon.wait_for_log("signal SIGTERM: stopping", 30s));
  manager.release();
  CHECK(slow.ends_well());
  CHECK(Orphanage::wait(next) == 0);
  INFO(daemon.log());
  CHECK(daemon.process().wait() == 0);
  CHECK(daemon.log().find("what is still open is cut") == std::string::npos);
  CHECK(daemon.wait_for_log("and this one with it: stopping"));
  CHECK_THROWS(HttpClient(daemon.port("web")));
}

TEST_CASE("a reload that comes as the main process changes is done by the new one", "[integration][upgrade]") {
  const Orphanage orphans;
  Manager manager;
  Daemon daemon(two(), manager.options());
  daemon.process().signal(SIGUSR2);
  const pid_t next = manager.main_process();
  REQUIRE(next > 1);
  daemon.write_config(with_listeners(http_listener("web", says("/", "again"))));
  daemon.process().signal(SIGHUP);
  REQUIRE(daemon.wait_for_log("SIGHUP: the configuration is loaded anew", 30s));
  manager.release();
  CHECK(daemon.wait_for_log("serves now, and is told to", 30s));
  CHECK(eventually([&] { return HttpClient(daemon.port("web")).ask(get("/")).value().body == "again"; }, 30s));
  CHECK(daemon.process().wait() == 0);
  (void)::kill(next, SIGTERM);
  CHECK(Orphanage::wait(next) == 0);
}

TEST_CASE("signals to all of a standby's processes are one wish, and the second one cuts both",
          "[integration][upgrade]") {
  const Orphanage orphans;
  Daemon daemon(two(kPatient));
  const Process asking({.arguments = upgrade_command(daemon, {"--rollback-after", "1h"})});
  REQUIRE(daemon.wait_for_log("stands by for 3600 s", 30s));
  const pid_t next = last_successor(daemon);
  REQUIRE(next > 1);
  Slow slow(daemon);  // of the new one: the old one accepts nobody
  SECTION("one") {
    (void)::kill(next, SIGINT);
    daemon.process().signal(SIGINT);
    REQUIRE(daemon.wait_for_log("signal SIGINT: stopping", 30s));
    CHECK(slow.ends_well());
    CHECK(daemon.process().wait(60s) == 0);
    CHECK(daemon.log().find("is cut") == std::string::npos);
  }
  SECTION("two") {
    daemon.process().signal(SIGTERM);
    REQUIRE(daemon.wait_for_log("and this one with it: stopping", 30s));
    CHECK(daemon.stop_again());
    CHECK(daemon.wait_for_log("told twice: what is still open is cut", 30s));
    CHECK(daemon.process().wait(40s) == 0);
    CHECK(!slow.ends_well());
  }
  CHECK(::kill(next, 0) != 0);
}

TEST_CASE("a new process that is stopped while the old one stands by finishes what it has, and the old one serves",
          "[integration][upgrade]") {
  const Orphanage orphans;
  Daemon daemon(two(kPatient));
  Process asking({.arguments = upgrade_command(daemon, {"--rollback-after", "1h"})});
  REQUIRE(daemon.wait_for_log("stands by for 3600 s", 30s));
  Slow slow(daemon);
  const pid_t next = last_successor(daemon);
  (void)::kill(next, SIGTERM);
  REQUIRE(daemon.wait_for_log("has closed its end: this one serves again", 30s));
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  CHECK(slow.ends_well());
  CHECK(asking.wait(60s) == 1);
  CHECK(asking.errors().find("this process serves again") != std::string::npos);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("while the old process stands by the new one has all datagrams, and the old one again when it has died",
          "[integration][upgrade]") {
  const Orphanage orphans;
  Daemon daemon(with_listeners(kCounting));
  const auto sends = [&](int count) { send_to_stats(daemon, count); };
  const auto has = [&](double count) { return has_counted(daemon, count); };
  sends(5);
  REQUIRE(has(5));
  Process asking({.arguments = upgrade_command(daemon, {"--rollback-after", "1h"})});
  REQUIRE(daemon.wait_for_log("stands by for 3600 s", 30s));
  for (int i = 1; i <= 20; ++i) {
    sends(1);  // one by one: each finds both asleep
    REQUIRE(has(i));
  }
  (void)::kill(last_successor(daemon), SIGKILL);
  CHECK(asking.wait(60s) == 1);
  sends(4);
  CHECK(has(5 + 4));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("an upgrade that runs out of memory when the new process serves leaves the old one with all that it had",
          "[integration][upgrade]") {
  const Orphanage orphans;
  Daemon daemon(with_listeners(http_listener("web", says("/", "hello")) + kCounting),
                {.program = FIBERD_OUT_OF_MEMORY});
  std::vector<std::string> options;
  SECTION("with a standby") { options = {"--rollback-after", "1h"}; }
  SECTION("without one") {}
  const Upgraded u = upgrade(daemon, options);
  INFO(whole(u) << daemon.log());
  REQUIRE(u.finished.code == 1);
  CHECK(u.finished.errors.find("bad_alloc") != std::string::npos);
  send_to_stats(daemon, 5);
  CHECK(has_counted(daemon, 5));
  CHECK(HttpClient(daemon.port("web")).ask(get("/")).value().body == "hello");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("where everybody on the machine may ask, nobody may name a program", "[integration][upgrade]") {
  const Orphanage orphans;
  const Known known;
  {
    Daemon daemon(two());
    const Upgraded u = upgrade(daemon, {"--binary", "/bin/false"});
    INFO(whole(u));
    CHECK(u.finished.code == 2);
    CHECK(u.finished.errors.find("no program may be named there: set admin.token_file") != std::string::npos);
    CHECK(daemon.metric("fiberd_upgrades_total{result=\"refused\"}") == 1);
    CHECK(daemon.wait_for_log("no program may be named there"));
    HttpClient client(daemon.port("admin"));
    const auto answer =
        client.ask("POST /upgrade HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 17\r\n\r\nbinary /bin/false");
    CHECK((answer && answer->status == 403));
    // What decides is the configuration that serves.
    daemon.write_config(known.configuration());
    daemon.process().signal(SIGHUP);
    REQUIRE(daemon.wait_for_log("reloaded "));
    const Upgraded tried = upgrade(daemon, known.naming("/bin/false"));
    INFO(whole(tried));
    CHECK(tried.finished.code == 1);
    CHECK(daemon.stop() == 0);
  }
  const TemporaryDirectory directory;
  const std::string socket = directory.path() + "/admin.sock";
  Daemon daemon("admin: {address: \"unix:" + socket + "\"}\nlisteners:\n" + http_listener("web", says("/", "hello")));
  CHECK(run({FIBERD_BINARY, "upgrade", "--address", "unix:" + socket, "--binary", "/bin/false"}).code == 1);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("the first process of a container takes all orphans off the kernel's list at once",
          "[integration][upgrade]") {
  if (run({"unshare", "-f", "-p", "--mount-proc", "true"}).code != 0 || run({"nsenter", "--version"}).code != 0) {
    WARN("skipped: no namespace of processes is to be had here");
    return;
  }
  const TemporaryDirectory directory;
  Process process({.arguments = {"unshare", "-f", "-p", "--mount-proc", "--kill-child", FIBERD_BINARY, "run", "-c",
                                 directory.write("fiberd.yaml", two())}});
  REQUIRE(eventually([&] { return process.errors().find(" started: ") != std::string::npos; }, 30s));
  const std::vector<pid_t> started = children_of(process.pid());
  REQUIRE(started.size() == 1);
  const pid_t first = started.front();
  // Two a second would be minutes.
  static constexpr int kOrphans = 300;
  const std::string script =
      "i=0; while [ $i -lt " + std::to_string(kOrphans) + " ]; do (true &); i=$((i+1)); done; (sleep 1000 &); true";
  const Finished made = run({"nsenter", "-t", std::to_string(first), "-p", "sh", "-c", script});
  INFO(made.errors);
  REQUIRE(made.code == 0);
  // The one that lives is left alone.
  CHECK(eventually([&] { return children_of(first).size() == 1; }, 60s));
  CHECK(process.running());
  process.signal(SIGKILL);
}
