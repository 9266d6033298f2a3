// Outputs that nobody reads: the daemon serves, drops, counts, and stops.
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <sstream>
#include <thread>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

constexpr auto kTimeout = 8s;

/// With an access log on stdout and the admin listener at a path that is known without reading the log.
std::string logging_site(const std::string& admin) {
  return "admin: {address: \"unix:" + admin +
         "\"}\n"
         "shutdown: {timeout: " +
         std::to_string(kTimeout.count()) +
         "s}\n"
         "listeners:\n"
         "  - name: web\n"
         "    address: \"127.0.0.1:0\"\n"
         "    http: {access_log: {format: common}, routes: [{path: /*, respond: {body: hello}}]}\n";
}

std::string ask_by_curl(const std::string& socket, const std::string& path) {
  return run({"curl", "-sS", "--max-time", "10", "--unix-socket", socket, "http://a" + path}).output;
}

/// Requests whose lines are as long as can be.
void ask_long(std::uint16_t port, unsigned requests) {
  HttpClient client(port);
  const std::string target = "/" + std::string(2900, 'x');
  for (unsigned i = 0; i < requests; ++i) {
    const auto answer = client.ask(get(target));
    REQUIRE(answer.has_value());
    REQUIRE(answer->status == 200);
  }
}

}  // namespace

TEST_CASE("a log that nobody reads does not stop the stop: stdout, stderr, or both in one pipe",
          "[integration][daemon][logs]") {
  const TemporaryDirectory directory;
  const std::string admin = directory.path() + "/admin";
  const std::string file = directory.write("fiberd.yaml", logging_site(admin));
  struct Case {
    const char* what;
    bool out, err;
  };
  for (const Case c : {Case{"stdout", true, false}, Case{"stderr", false, true}, Case{"both", true, true}}) {
    INFO(c.what);
    const FullPipe pipe;
    Process daemon({.arguments = {FIBERD_BINARY, "run", "-c", file},
                    .out = c.out ? pipe.writer() : -1,
                    .err = c.err ? pipe.writer() : -1});
    REQUIRE(eventually([&] { return ask_by_curl(admin, "/readyz") == "ready\n"; }, 20s));
    // A line of the log (and one of the access log, where it is a request to the listener): there is no room for them.
    daemon.signal(SIGHUP);
    daemon.signal(SIGUSR1);
    REQUIRE(ask_by_curl(admin, "/readyz") == "ready\n");
    daemon.signal(SIGTERM);
    CHECK(daemon.wait(kTimeout) == 0);
  }
}

TEST_CASE("access lines that nobody reads are dropped, counted and said; requests are not held up",
          "[integration][daemon][logs]") {
  auto pipe = std::make_unique<FullPipe>();
  const TemporaryDirectory directory;
  const std::string admin = directory.path() + "/admin";
  Daemon daemon(logging_site(admin), {.out = pipe->writer()});
  const auto dropped = [&] {
    const std::string page = "\n" + ask_by_curl(admin, "/metrics");
    const std::string name = "\nfiberd_access_log_dropped_total{listener=\"web\"} ";
    const std::size_t at = page.find(name);
    return at == std::string::npos ? -1.0 : std::strtod(page.c_str() + at + name.size(), nullptr);
  };
  const std::uint16_t port = daemon.port("web");
  // A megabyte for each Processor, and one of 0.
  for (int round = 0; round < 100 && dropped() <= 0; ++round) ask_long(port, 100);
  CHECK(dropped() > 0);
  CHECK(daemon.wait_for_log("log output stdout: nobody reads it"));

  // Somebody reads a part, and there is as much again at once: that is not yet "read again". A line that the daemon
  // says afterwards tells that it had the time.
  const std::size_t full = pipe->size();
  std::string text = pipe->read(full / 2);
  CHECK(eventually([&] { return pipe->size() > full * 3 / 4; }));
  daemon.process().signal(SIGHUP);
  CHECK(daemon.wait_for_log("SIGHUP"));
  CHECK(daemon.log().find("it is read again") == std::string::npos);

  // All is read: what waited comes, whole.
  CHECK(eventually(
      [&] {
        text += pipe->read();
        return daemon.log().find("it is read again") != std::string::npos;
      },
      30s));
  text += pipe->read();
  std::istringstream lines(text.substr(0, text.rfind('\n') + 1));
  unsigned count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    INFO(line.substr(0, 100));
    REQUIRE(line.starts_with("127.0.0.1 - - ["));
    REQUIRE(line.ends_with("x HTTP/1.1\" 200 5"));
  }
  CHECK(count > 100);

  // And not again: what is left at the stop is said.
  for (int i = 0; i < 4; ++i) ask_long(port, 100);
  CHECK(daemon.stop(kTimeout) == 0);
  CHECK(daemon.wait_for_log("access log stdout: "));
  CHECK(daemon.wait_for_log(" lines were not written"));
}

TEST_CASE("a FIFO needs no reader: the start does not wait, and who reads later finds the first lines",
          "[integration][daemon][logs]") {
  const TemporaryDirectory directory;
  const std::string log = directory.path() + "/log";
  const std::string access = directory.path() + "/access";
  REQUIRE(::mkfifo(log.c_str(), 0600) == 0);
  REQUIRE(::mkfifo(access.c_str(), 0600) == 0);
  const std::string admin = directory.path() + "/admin";
  std::string text = logging_site(admin);
  text.replace(text.find("format: common"), 14, "format: common, output: " + access);
  const std::string file = directory.write("fiberd.yaml", "log: {output: " + log + "}\n" + text);
  Process daemon({.arguments = {FIBERD_BINARY, "run", "-c", file}});
  REQUIRE(eventually([&] { return ask_by_curl(admin, "/readyz") == "ready\n"; }, 20s));

  const int reader = ::open(log.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  REQUIRE(reader >= 0);
  std::string lines;
  CHECK(eventually([&] {
    char buffer[4096];
    const ssize_t n = ::read(reader, buffer, sizeof buffer);
    if (n > 0) lines.append(buffer, static_cast<std::size_t>(n));
    return lines.find(" started: ") != std::string::npos;
  }));
  ::close(reader);
  daemon.signal(SIGTERM);
  CHECK(daemon.wait(kTimeout) == 0);
}

TEST_CASE("log.output: stdout is the stream, and no file of that name", "[integration][daemon][logs]") {
  const TemporaryDirectory directory;
  for (const char* const output : {"stdout", "/dev/stdout"}) {
    const std::string file = directory.write(
        "fiberd.yaml", "log: {output: " + std::string(output) + "}\n" + logging_site(directory.path() + "/admin"));
    CHECK(run({FIBERD_BINARY, "check", file}).code == 0);
    Process daemon({.arguments = {FIBERD_BINARY, "run", "-c", file}, .directory = directory.path()});
    CHECK(eventually([&] { return daemon.output().find(" started: ") != std::string::npos; }));
    daemon.signal(SIGUSR1);  // nothing to open anew
    CHECK(eventually([&] { return daemon.output().find("logs reopened") != std::string::npos; }));
    daemon.signal(SIGTERM);
    CHECK(daemon.wait() == 0);
    CHECK(daemon.output().find(" stopped") != std::string::npos);
    CHECK(daemon.errors().empty());
  }
  CHECK_FALSE(std::filesystem::exists(directory.path() + "/stdout"));
}

TEST_CASE("what ends a start is said on the terminal too, where the log is a file", "[integration][daemon][logs]") {
  const TemporaryDirectory directory;
  const Daemon other(logging_site(directory.path() + "/other"));
  std::string text = logging_site(directory.path() + "/admin");
  const std::string taken = "127.0.0.1:" + std::to_string(other.port("web"));
  text.replace(text.find("127.0.0.1:0"), 11, taken);
  const std::string log = directory.path() + "/log";
  const Finished refused =
      run({FIBERD_BINARY, "-c", directory.write("fiberd.yaml", "log: {output: " + log + "}\n" + text)});
  CHECK(refused.code == 3);
  CHECK(refused.errors.find("fiberd: listener web: cannot bind " + taken) != std::string::npos);
  CHECK(read_file(log).find("listener web: cannot bind " + taken) != std::string::npos);
}

TEST_CASE("a stop that hangs ends with the process, two seconds after shutdown.timeout, and says so",
          "[integration][daemon]") {
  for (const bool in_handler : {true, false}) {
    INFO((in_handler ? "a handler" : "on_stop"));
    Daemon daemon(
        "admin: {address: \"127.0.0.1:0\"}\n"
        "shutdown: {timeout: 500ms}\n"
        "listeners:\n"
        "  - {name: web, address: \"127.0.0.1:0\", http: {routes: [{path: /stuck, handler: stuck}]}}\n",
        {.environment = {{"STUCK_AT_STOP", in_handler ? "0" : "1"}}, .program = FIBERD_STUCK});
    HttpClient client(daemon.port("web"));
    if (in_handler) {
      REQUIRE(client.send(get("/stuck")));
      REQUIRE(daemon.wait_for_log("stuck now"));
    }
    daemon.process().signal(SIGTERM);
    CHECK(daemon.process().wait(20s) == 1);
    INFO(daemon.log());
    CHECK(daemon.wait_for_log("the stop did not end at shutdown.timeout"));
  }
}

TEST_CASE("a reader that is slow does not make a stop fail: what is not written by its end is said",
          "[integration][daemon][logs]") {
  int ends[2];
  REQUIRE(::pipe2(ends, O_CLOEXEC) == 0);
  const TemporaryDirectory directory;
  std::string text = logging_site(directory.path() + "/admin");
  text.replace(text.find("timeout: 8s"), 11, "timeout: 2s");
  Daemon daemon(text, {.out = ends[1]});
  ::close(ends[1]);
  ask_long(daemon.port("web"), 300);
  daemon.process().signal(SIGTERM);
  char buffer[4096];
  const auto began = std::chrono::steady_clock::now();
  while (daemon.process().running() && std::chrono::steady_clock::now() < began + 10s) {
    (void)::read(ends[0], buffer, sizeof buffer);
    std::this_thread::sleep_for(200ms);
  }
  CHECK(daemon.process().wait(1s) == 0);
  CHECK(daemon.wait_for_log("access log stdout: "));
  CHECK(daemon.wait_for_log(" lines were not written"));
  CHECK(daemon.wait_for_log("stopped"));
  ::close(ends[0]);
}
