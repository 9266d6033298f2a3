// The daemon as a process: how it starts, what it says when it cannot, and how it stops.
#include <signal.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <thread>

#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

TEST_CASE("the command line", "[integration][daemon]") {
  const TemporaryDirectory directory;
  const std::string good = directory.write("good.yaml", web());
  CHECK(run({FIBERD_BINARY, "check", good}).code == 0);
  CHECK(run({FIBERD_BINARY, "version"}).output.starts_with("fiberd "));
  const Finished preset = run({FIBERD_BINARY, "config", "default"});
  CHECK(preset.code == 0);
  CHECK(run({FIBERD_BINARY, "check", directory.write("default.yaml", preset.output)}).code == 0);
  CHECK(run({FIBERD_BINARY, "config", "schema"}).output.find("runtime.gomaxprocs") != std::string::npos);

  const std::string bad = directory.write("bad.yaml", "runtime: {gomaxproc: 2}\nlisteners: []\n");
  for (const char* command : {"check", "run"}) {
    const Finished refused =
        command == std::string("check") ? run({FIBERD_BINARY, "check", bad}) : run({FIBERD_BINARY, "run", "-c", bad});
    CHECK(refused.code == 2);
    CHECK(refused.errors.find(bad + ":1:11: runtime.gomaxproc: ") != std::string::npos);
    CHECK(refused.errors.find("gomaxprocs") != std::string::npos);
    CHECK(refused.errors.find(bad + ":2:") != std::string::npos);  // all of it in one run
  }
  CHECK(run({FIBERD_BINARY, "check", directory.path() + "/nowhere.yaml"}).code == 2);
  CHECK(run({FIBERD_BINARY, "fly"}).code == 2);
  CHECK(run({FIBERD_BINARY, "--set", "runtime.gomaxprocs=-1"}).code == 2);
}

TEST_CASE("`version` names the commit that it was built from", "[integration][daemon]") {
  const std::string version = run({FIBERD_BINARY, "version"}).output;
  INFO(version);
  const std::size_t at = version.find(" (commit ");
  REQUIRE(at != std::string::npos);
  const std::string commit = version.substr(at + 9, version.find(')', at) - at - 9);
  if (run({"git", "-C", FIBERD_SOURCE_DIR, "rev-parse", "HEAD"}).code != 0) {
    CHECK(commit == "unknown");  // a copy of the tree
    return;
  }
  const std::string id = commit.substr(0, commit.find('+'));
  CHECK(id.size() >= 12);
  CHECK(run({"git", "-C", FIBERD_SOURCE_DIR, "cat-file", "-t", id}).output == "commit\n");
}

TEST_CASE("the log says which configuration is served", "[integration][daemon]") {
  const Daemon daemon(web());
  CHECK(daemon.wait_for_log("configuration: /"));
  CHECK(daemon.wait_for_log("/fiberd.yaml\n"));
  Process built_in({.arguments = {FIBERD_BINARY, "--set", "admin.address=127.0.0.1:0", "--set",
                                  "listeners[0].address=127.0.0.1:0", "--set", "listeners[1].address=127.0.0.1:0"}});
  CHECK(eventually([&] { return built_in.errors().find(" started: ") != std::string::npos; }));
  CHECK(built_in.errors().find("configuration: built in") != std::string::npos);
}

TEST_CASE(
    "the admin listener's default port is taken: a warning, and the daemon serves; one that was written is an error",
    "[integration][daemon]") {
  const std::string listeners = "listeners: [{name: web, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n";
  // Ours, or Prometheus' or whoever's has it already.
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const fiberd::net::Endpoint port = fiberd::net::Endpoint::v4(0x7f000001, 9090);
  (void)::bind(fd, port.data(), port.size());
  (void)::listen(fd, 1);
  Daemon daemon(listeners);
  CHECK(daemon.wait_for_log("127.0.0.1:9090, its default, is used by another program"));
  HttpClient client(daemon.port("web"));
  client.send("x");
  CHECK(client.more());
  CHECK(daemon.stop() == 0);

  const TemporaryDirectory directory;
  const Finished refused =
      run({FIBERD_BINARY, "-c", directory.write("written.yaml", "admin: {address: \"127.0.0.1:9090\"}\n" + listeners)});
  CHECK(refused.code == 3);
  CHECK(refused.errors.find("cannot bind 127.0.0.1:9090") != std::string::npos);
  ::close(fd);
}

TEST_CASE("an address that cannot be bound ends with 3, a log that cannot be opened with 2", "[integration][daemon]") {
  const Daemon daemon(web());
  const TemporaryDirectory directory;
  const std::string taken = "127.0.0.1:" + std::to_string(daemon.port("web"));
  const std::string config =
      directory.write("second.yaml", "admin: {address: \"off\"}\nlisteners:\n  - {name: web, address: \"" + taken +
                                         "\", tcp: {echo: {}}}\n");
  const Finished second = run({FIBERD_BINARY, "-c", config});
  CHECK(second.code == 3);
  CHECK(second.errors.find("cannot bind " + taken) != std::string::npos);
  CHECK(second.errors.find("who has it: ss -ltnp; written in " + config + ":3:26: listeners[0].address\n") !=
        std::string::npos);
  const std::string nowhere = directory.path() + "/no/such/directory/log";
  const Finished log = run({FIBERD_BINARY, "-c", config, "--set", "log.output=" + nowhere});
  CHECK(log.code == 2);
  CHECK(log.errors.find(nowhere) != std::string::npos);
}

TEST_CASE("error pages: read at start, sent, and one that cannot be read ends with 2", "[integration][daemon]") {
  const TemporaryDirectory directory;
  const std::string page = directory.write("404.html", "<p>nothing here</p>");
  {
    const Daemon daemon(web("      error_pages: {404: " + page + "}\n"));
    HttpClient client(daemon.port("web"));
    const auto answer = client.ask(get("/none"));
    REQUIRE(answer.has_value());
    CHECK(answer->status == 404);
    CHECK(answer->body == "<p>nothing here</p>");
    CHECK(answer->field("Content-Type") == "text/html; charset=utf-8");
  }
  const std::string config = directory.write("bad.yaml", web("      error_pages: {404: /no/such.html}\n"));
  const Finished refused = run({FIBERD_BINARY, "-c", config});
  CHECK(refused.code == 2);
  CHECK(refused.errors.find("error_pages.404: /no/such.html: No such file") != std::string::npos);
  const std::string wrong = directory.write("wrong.yaml", web("      error_pages: {200: " + page + "}\n"));
  CHECK(run({FIBERD_BINARY, "check", wrong}).errors.find("is no error's status; 400 … 599") != std::string::npos);
}

TEST_CASE("SIGTERM and SIGINT stop cleanly; SIGHUP does not stop", "[integration][daemon]") {
  for (const int signo : {SIGTERM, SIGINT}) {
    Daemon daemon(web());
    daemon.process().signal(SIGHUP);
    CHECK(daemon.wait_for_log("SIGHUP"));
    HttpClient client(daemon.port("web"));
    auto answer = client.ask(get("/"));
    REQUIRE(answer.has_value());
    CHECK(answer->body == "hello");
    daemon.process().signal(signo);
    CHECK(client.wait_end());  // an idle connection is closed, not kept waiting
    CHECK(daemon.process().wait() == 0);
    CHECK(daemon.wait_for_log("stopped"));
    CHECK(daemon.log().find("were cut") == std::string::npos);
  }
}

TEST_CASE("SIGTERM under load loses no request", "[integration][daemon]") {
  static constexpr int kClients = 16;
  for (int round = 0; round < 3; ++round) {
    Daemon daemon(web());
    const std::uint16_t port = daemon.port("web");
    // With the listener's close a refused connection is right; anything else that fails a request is a loss. On a kept
    // connection the end of the stream before any byte of an answer is the close of an idle connection that crossed the
    // request (RFC 9112 section 9.5): the client may repeat it elsewhere. On a new one it is a loss.
    std::atomic<unsigned> answered{0};
    std::atomic<unsigned> lost{0};
    std::atomic<unsigned> crossed{0};
    std::atomic<unsigned> ended{0};
    std::vector<std::thread> clients;
    for (int i = 0; i < kClients; ++i)
      clients.emplace_back([&, keep = i % 2 == 0] {
        try {
          for (;;) {
            HttpClient client(port);
            for (unsigned n = 0;; ++n) {
              const bool sent = client.send(get("/", keep ? "" : "Connection: close\r\n"));
              const auto answer = client.receive();
              if (answer && answer->status == 200 && answer->body == "hello") {
                ++answered;
                if (!keep || answer->field("Connection") == "close") break;
                continue;
              }
              (n != 0 && (client.ended() || !sent || client.error() == ECONNRESET) && client.rest().empty() ? crossed
                                                                                                            : lost) +=
                  1;
              break;
            }
          }
        } catch (const std::system_error& error) {
          if (error.code().value() != ECONNREFUSED) ++lost;
        } catch (const std::exception&) {
          ++lost;
        }
        ++ended;
      });
    CHECK(eventually([&] { return answered > 2000; }));
    CHECK(daemon.stop() == 0);
    CHECK(eventually([&] { return ended == kClients; }));
    for (std::thread& client : clients) client.join();
    INFO(daemon.log());
    CHECK(lost == 0);
    CHECK(crossed <= kClients / 2);
    CHECK(daemon.log().find("were cut") == std::string::npos);
  }
}

TEST_CASE("a request that is under way at SIGTERM finishes", "[integration][daemon]") {
  Daemon daemon(web());
  HttpClient slow(daemon.port("web"));
  REQUIRE(slow.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234"));
  REQUIRE(eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1.0; }));
  daemon.process().signal(SIGTERM);
  REQUIRE(daemon.wait_for_log("SIGTERM"));
  // The listener is gone before the request has ended.
  CHECK(eventually([&] {
    try {
      HttpClient refused(daemon.port("web"));
      return false;
    } catch (const std::system_error&) {
      return true;
    }
  }));
  REQUIRE(slow.send("56789"));
  const auto answer = slow.receive();
  REQUIRE(answer.has_value());
  CHECK(answer->status == 200);
  CHECK(answer->body == "0123456789");
  CHECK(slow.wait_end());
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("shutdown.delay serves on while readyz says 503", "[integration][daemon]") {
  Daemon daemon("shutdown: {delay: 1h}\n" + web());
  CHECK(daemon.admin_status("/readyz") == 200);
  CHECK(daemon.admin_status("/healthz") == 200);
  daemon.process().signal(SIGTERM);
  CHECK(eventually([&] { return daemon.admin_status("/readyz") == 503; }));
  HttpClient client(daemon.port("web"));  // new connections too
  const auto answer = client.ask(get("/"));
  REQUIRE(answer.has_value());
  CHECK(answer->status == 200);
  CHECK(daemon.stop_again());  // a second signal does not wait
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("shutdown.timeout and a second signal cut what is left, and say so", "[integration][daemon]") {
  for (const bool second : {false, true}) {
    Daemon daemon(std::string("shutdown: {timeout: ") + (second ? "1h" : "100ms") + "}\n" + web());
    HttpClient stuck(daemon.port("web"));
    REQUIRE(stuck.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234"));
    REQUIRE(eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1.0; }));
    daemon.process().signal(SIGTERM);
    REQUIRE(daemon.wait_for_log("SIGTERM"));
    if (second) CHECK(daemon.stop_again());
    CHECK(daemon.process().wait(10s) == 0);
    CHECK(daemon.log().find(second ? "1 connections were cut at the second signal"
                                   : "1 connections were cut at shutdown.timeout") != std::string::npos);
  }
}

TEST_CASE("one wish to stop that comes as two signals cuts nothing", "[integration][daemon]") {
  for (const int signo : {SIGTERM, SIGINT}) {
    Daemon daemon("shutdown: {timeout: 1h}\n" + web());
    HttpClient busy(daemon.port("web"));
    REQUIRE(busy.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234"));
    REQUIRE(eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1.0; }));
    daemon.process().signal(signo);
    daemon.process().signal(signo == SIGTERM ? SIGINT : SIGTERM);
    REQUIRE(daemon.wait_for_log(": stopping"));
    REQUIRE(busy.send("56789"));
    const auto answer = busy.receive();
    REQUIRE(answer.has_value());
    CHECK(answer->status == 200);
    CHECK(daemon.process().wait(10s) == 0);
    CHECK(daemon.log().find("second signal") == std::string::npos);
  }
}

TEST_CASE("SIGUSR1 opens the logs anew", "[integration][daemon]") {
  const TemporaryDirectory directory;
  const std::string log = directory.path() + "/fiberd.log";
  const std::string access = directory.path() + "/access.log";
  Daemon daemon(web("      access_log: {format: common, output: " + access + "}\n"),
                {.arguments = {}});  // its own log stays on stderr, where the ports are read
  const std::uint16_t port = daemon.port("web");
  HttpClient client(port);
  REQUIRE(client.ask(get("/first")).has_value());
  REQUIRE(eventually([&] { return read_file(access).find("GET /first") != std::string::npos; }));
  std::filesystem::rename(access, access + ".1");
  daemon.process().signal(SIGUSR1);
  REQUIRE(daemon.wait_for_log("logs reopened"));
  REQUIRE(client.ask(get("/second")).has_value());
  CHECK(eventually([&] { return read_file(access).find("GET /second") != std::string::npos; }));
  CHECK(read_file(access + ".1").find("/second") == std::string::npos);
  CHECK(daemon.stop() == 0);

  // The daemon's own log: started by hand, because its ports are in that file.
  const std::string config = directory.write("c.yaml", "log: {output: " + log + ", format: json}\n" + web());
  Process process({.arguments = {FIBERD_BINARY, "-c", config}});
  REQUIRE(eventually([&] { return read_file(log).find(" started: ") != std::string::npos; }));
  std::filesystem::rename(log, log + ".1");
  process.signal(SIGUSR1);
  CHECK(eventually([&] { return read_file(log).find("logs reopened") != std::string::npos; }));
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
  CHECK(read_file(log).find("\"message\":\"stopped\"") != std::string::npos);
  CHECK(read_file(log + ".1").find("stopped") == std::string::npos);
}

TEST_CASE("Unix sockets: a stale one is replaced, a live one refused, ours removed", "[integration][daemon]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/web.sock";
  const std::string config = kAdmin + "listeners:\n  - {name: web, address: \"unix:" + path +
                             "\", mode: 0600, http: {routes: [{path: /, respond: {body: hello}}]}}\n";
  auto ask = [&] { return run({"curl", "-sS", "--max-time", "10", "--unix-socket", path, "http://a/"}).output; };
  {
    Daemon daemon(config);
    struct stat status {};
    REQUIRE(::stat(path.c_str(), &status) == 0);
    CHECK((status.st_mode & 0777U) == 0600U);
    CHECK(ask() == "hello");
    const Finished second = run({FIBERD_BINARY, "-c", directory.write("c.yaml", config)});
    CHECK(second.code == 3);
    CHECK(ask() == "hello");
    daemon.process().signal(SIGKILL);
    REQUIRE(daemon.process().wait() == 128 + SIGKILL);
  }
  REQUIRE(std::filesystem::exists(path));  // stale now
  Daemon daemon(config);
  CHECK(ask() == "hello");
  CHECK(daemon.stop() == 0);
  CHECK_FALSE(std::filesystem::exists(path));
}

TEST_CASE("above memory.limit new connections are closed and counted", "[integration][daemon]") {
  // No limit that can be set is less than what the process needs anyhow; this one is.
  Daemon daemon(web(), {.environment = {{"GOMEMLIMIT", "1MiB"}}});
  CHECK(daemon.wait_for_log("GOMEMLIMIT=1MiB is less than 16MiB"));
  const std::uint16_t port = daemon.port("web");
  CHECK(eventually([&] {
    HttpClient client(port);
    return !client.ask(get("/")).has_value();
  }));
  CHECK(eventually([&] {
    return daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"memory\"}").value_or(0) >= 1;
  }));
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"epoll\"}") == 0);
  CHECK(daemon.admin_status("/healthz") == 200);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what is printed and does not arrive is an error", "[daemon][lifecycle]") {
  for (const char* const command :
       {"version", "help", "--help", "check --help", "config default", "config schema", "config schema --markdown"}) {
    CAPTURE(command);
    const Finished full = run({"sh", "-c", std::string(FIBERD_BINARY) + " " + command + " > /dev/full"});
    CHECK(full.code == 1);
    CHECK(full.errors.find("standard output cannot be written") != std::string::npos);
  }
}

TEST_CASE("the admin's Unix socket is its owner's alone, and root: is root with root's group", "[daemon][lifecycle]") {
  const TemporaryDirectory place;
  Daemon daemon("admin: {address: \"unix:" + place.path() +
                "/admin\"}\n"
                "listeners: [{name: echo, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  struct stat st {};
  REQUIRE(::stat((place.path() + "/admin").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0600);
  CHECK(daemon.stop() == 0);
  if (::getuid() != 0) return;
  Daemon owned("admin: {address: \"unix:" + place.path() +
               "/admin\", mode: 0660, owner: \"root:\"}\n"
               "listeners: [{name: echo, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  REQUIRE(::stat((place.path() + "/admin").c_str(), &st) == 0);
  CHECK((st.st_mode & 0777) == 0660);
  CHECK(owned.stop() == 0);
}

TEST_CASE("signals before their handlers are there wait for them: none is lost, none kills a half-made daemon",
          "[integration][daemon]") {
  const TemporaryDirectory directory;
  // Many listeners: from the first socket file to the handlers it takes a while.
  std::string config = "admin: {address: \"off\"}\nlisteners:\n";
  for (int i = 0; i < 200; ++i)
    config += "  - {name: l" + std::to_string(i) + ", address: \"unix:" + directory.path() + "/s" + std::to_string(i) +
              "\", tcp: {echo: {}}}\n";
  Process daemon({.arguments = {FIBERD_BINARY, "run", "-c", directory.write("fiberd.yaml", config)}});
  const auto until = std::chrono::steady_clock::now() + 20s;
  while (::access((directory.path() + "/s0").c_str(), F_OK) != 0 && std::chrono::steady_clock::now() < until) {
  }
  for (const int signo : {SIGHUP, SIGUSR1, SIGTERM}) daemon.signal(signo);
  CHECK(daemon.wait() == 0);
  CHECK(daemon.errors().find("signal SIGTERM: stopping") != std::string::npos);
  CHECK(daemon.errors().find("reload refused: the daemon is stopping") != std::string::npos);
  CHECK(::access((directory.path() + "/s0").c_str(), F_OK) != 0);
}

TEST_CASE("SIGHUP and SIGUSR1 to the very end of a stop do not cut it off", "[integration][daemon]") {
  for (int round = 0; round < 5; ++round) {
    Daemon daemon(web());
    daemon.process().signal(SIGTERM);
    const auto until = std::chrono::steady_clock::now() + 20s;
    while (daemon.process().running() && std::chrono::steady_clock::now() < until) {
      daemon.process().signal(SIGHUP);
      daemon.process().signal(SIGUSR1);
      std::this_thread::sleep_for(100us);
    }
    CHECK(daemon.process().wait() == 0);
  }
}

TEST_CASE("shutdown.idle that is longer than shutdown.timeout is refused", "[integration][daemon]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("fiberd.yaml", web("shutdown: {timeout: 1s, idle: 30s}\n"));
  const Finished outcome = run({FIBERD_BINARY, "check", file});
  CHECK(outcome.code == 2);
  CHECK(outcome.errors.find("shutdown.idle: is longer than shutdown.timeout") != std::string::npos);
  CHECK(run({FIBERD_BINARY, "check", file, "--set", "shutdown.idle=1s"}).code == 0);
}
