// What is shown of a daemon that runs: the status document, `fiberd top` (once, as JSON, in a terminal) and the
// console's files.
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include "daemon/console/console.hpp"
#include "daemon/top/display.hpp"
#include "daemon/top/snapshot.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/decompress.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/json.hpp"

using namespace fiberd::test;
namespace top = fiberd::daemon::top;

namespace {

std::string with_routes(const std::string& admin) {
  return "admin: {address: \"" + admin +
         "\"}\nlisteners:\n  - {name: web, address: \"127.0.0.1:0\", http: {routes: [\n"
         "      {path: /, respond: {body: hi}}, {path: /echo, echo: {}}, {path: \"/\\u00fc<b>\\\"'\", respond: {body: "
         "x}},\n"
         "      {path: /bad, respond: {status: 500, body: no}}]}}\n";
}

top::Snapshot snapshot_in(const std::string& document) {
  std::string why;
  auto snapshot = top::parse_snapshot(document, why);
  INFO(why);
  REQUIRE(snapshot);
  return std::move(*snapshot);
}

/// fiberd top on a terminal of its own.
class TopOnTerminal {
 public:
  explicit TopOnTerminal(const std::vector<std::string>& arguments, unsigned short columns = 80,
                         unsigned short rows = 24) {
    const winsize size{rows, columns, 0, 0};
    std::vector<std::string> all{FIBERD_BINARY, "top"};
    all.insert(all.end(), arguments.begin(), arguments.end());
    std::vector<char*> pointers;
    for (std::string& a : all) pointers.push_back(a.data());
    pointers.push_back(nullptr);
    pid_ = ::forkpty(&master_, nullptr, nullptr, &size);
    if (pid_ == 0) {
      ::setenv("TERM", "xterm", 1);
      ::setenv("LC_ALL", "C.UTF-8", 1);
      ::execv(FIBERD_BINARY, pointers.data());
      ::_exit(127);
    }
    REQUIRE(pid_ > 0);
    REQUIRE(::tcgetattr(master_, &before_) == 0);
  }
  ~TopOnTerminal() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
    ::close(master_);
  }
  TopOnTerminal(const TopOnTerminal&) = delete;
  TopOnTerminal& operator=(const TopOnTerminal&) = delete;

  void type(std::string_view keys) const {
    REQUIRE(::write(master_, keys.data(), keys.size()) == static_cast<ssize_t>(keys.size()));
  }
  void resize(unsigned short columns, unsigned short rows) const {
    const winsize size{rows, columns, 0, 0};
    REQUIRE(::ioctl(master_, TIOCSWINSZ, &size) == 0);
  }
  void signal(int signo) const { ::kill(pid_, signo); }
  /// The last whole screen that satisfies `wanted`: its lines, without sequences.
  template <class F>
  std::vector<std::string> screen(F wanted) {
    const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (std::chrono::steady_clock::now() < until) {
      if (!read()) break;
      // A screen begins at the top and ends by clearing what is below.
      const std::size_t end = output_.rfind("\x1b[J");
      if (end == std::string::npos) continue;
      const std::size_t begin = output_.rfind("\x1b[H", end);
      if (begin == std::string::npos) continue;
      std::vector<std::string> lines = lines_of(std::string_view(output_).substr(begin + 3, end - begin - 3));
      if (wanted(lines)) return lines;
    }
    FAIL("no such screen; the end of the output: "
         << output_.substr(output_.size() - std::min<std::size_t>(output_.size(), 3000)));
    return {};
  }
  /// All it writes until it ends; its exit status as of waitpid(2).
  int end(std::string& rest) {
    const std::size_t before = output_.size();
    while (read()) {
    }
    rest = output_.substr(before);
    int status = -1;
    for (int i = 0; i < 1000 && ::waitpid(pid_, &status, WNOHANG) == 0; ++i) pause_between_polls();
    pid_ = -1;
    return status;
  }
  /// Whether it is as it was before.
  [[nodiscard]] bool restored() const {
    termios now{};
    // The other end is closed: the terminal still tells what it was set to.
    return ::tcgetattr(master_, &now) == 0 && now.c_lflag == before_.c_lflag && now.c_iflag == before_.c_iflag &&
           now.c_oflag == before_.c_oflag;
  }

 private:
  static std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> lines(1);
    for (std::size_t i = 0; i < text.size(); ++i) {
      if (text[i] == '\x1b') {
        while (i < text.size() && (text[i] < '@' || text[i] > '~' || text[i] == '[')) ++i;
      } else if (text[i] == '\n') {
        lines.emplace_back();
      } else if (text[i] != '\r') {
        lines.back() += text[i];
      }
    }
    return lines;
  }
  bool read() {
    pollfd ready{master_, POLLIN, 0};
    if (::poll(&ready, 1, 20'000) <= 0) return false;
    char buffer[8192];
    const ssize_t n = ::read(master_, buffer, sizeof buffer);
    if (n <= 0) return false;
    output_.append(buffer, static_cast<std::size_t>(n));
    return true;
  }
  int master_ = -1;
  pid_t pid_ = -1;
  termios before_{};
  std::string output_;
};

bool any_has(const std::vector<std::string>& lines, std::string_view text) {
  return std::any_of(lines.begin(), lines.end(),
                     [text](const std::string& line) { return line.find(text) != std::string::npos; });
}

}  // namespace

TEST_CASE("the status document tells what /metrics tells, by fields that stay", "[integration][status]") {
  Daemon daemon(with_routes("127.0.0.1:0"));
  HttpClient client(daemon.port("web"));
  for (int i = 0; i < 20; ++i) REQUIRE(client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n"));
  for (int i = 0; i < 3; ++i) REQUIRE(client.ask("GET /bad HTTP/1.1\r\nHost: a\r\n\r\n"));
  client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  std::string document;
  top::Snapshot status;
  REQUIRE(eventually([&] {
    document = daemon.admin("/debug/status");
    status = snapshot_in(document);
    return std::any_of(status.sites.begin(), status.sites.end(),
                       [](const top::SiteLine& s) { return s.name.starts_with("http") && s.reason == "io_read"; });
  }));
  CHECK(Json::valid(document.substr(0, document.size() - 1)));
  for (const char* const field : {"schema",
                                  "monotonic_seconds",
                                  "process",
                                  "version",
                                  "pid",
                                  "uptime_seconds",
                                  "resident_bytes",
                                  "open_fds",
                                  "scheduler",
                                  "gomaxprocs",
                                  "processors",
                                  "busy_seconds",
                                  "switches",
                                  "steals",
                                  "handoffs",
                                  "machines",
                                  "fibers",
                                  "runnable",
                                  "running",
                                  "waiting",
                                  "reasons",
                                  "sites",
                                  "oldest_seconds",
                                  "stacks",
                                  "reserved_bytes",
                                  "resident_bytes",
                                  "stalls",
                                  "computes",
                                  "blocks",
                                  "robbed",
                                  "listeners",
                                  "connections",
                                  "accepted",
                                  "routes",
                                  "requests",
                                  "classes",
                                  "latency",
                                  "p50",
                                  "p90",
                                  "p99",
                                  "buckets",
                                  "latency_bounds",
                                  "refusals",
                                  "contexts",
                                  "alive",
                                  "never_canceled",
                                  "places"})
    CHECK(document.find("\"" + std::string(field) + "\":") != std::string::npos);
  const auto route = [&](std::string_view name) {
    return *std::find_if(status.routes.begin(), status.routes.end(), [&](const auto& r) { return r.route == name; });
  };
  CHECK(route("/").requests == 20);
  CHECK(route("/").requests ==
        daemon.metric("fiberd_http_requests_total{listener=\"web\",route=\"/\",method=\"GET\",code=\"200\"}"));
  CHECK(route("/bad").server_errors == 3);
  CHECK(route("/").buckets.size() == status.latency_bounds.size() + 1);
  CHECK(std::any_of(status.routes.begin(), status.routes.end(),
                    [](const auto& r) { return r.route == "/\u00fc<b>\"'"; }));
  CHECK(status.processors.size() == daemon.metric("fiberd_sched_gomaxprocs"));
  CHECK(daemon.metric("fiberd_sched_processor_busy_seconds_total{processor=\"0\"}"));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a Processor that is busy is shown as loaded, by the document and by top", "[integration][status][top]") {
  Daemon daemon(with_routes("127.0.0.1:0"));
  const std::string address = "127.0.0.1:" + std::to_string(daemon.port("admin"));
  // Healthz wakes every Processor: with enough of it none sleeps much.
  const Finished once = run({FIBERD_BINARY, "top", "--json", "--interval", "300ms", "--address", address});
  INFO(once.errors);
  REQUIRE(once.code == 0);
  CHECK(Json::valid(once.output.substr(0, once.output.size() - 1)));
  CHECK(once.output.find("\"requests_per_second\":") != std::string::npos);
  CHECK(once.output.find("\"status\":{\"schema\":1") != std::string::npos);
  top::Snapshot before = snapshot_in(daemon.admin("/debug/status"));
  HttpClient client(daemon.port("web"));
  double busy = 0;
  CHECK(eventually([&] {
    for (int i = 0; i < 500; ++i) (void)client.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
    const top::Snapshot now = snapshot_in(daemon.admin("/debug/status"));
    const top::Rates rates = top::rates_between(before, now);
    busy = *std::max_element(rates.load.begin(), rates.load.end());
    return busy > 0.0 && rates.requests > 0 && rates.p99;
  }));
  CHECK(busy <= 1.0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("top prints once where there is no terminal, over a Unix socket too, and says what is wrong",
          "[integration][top]") {
  const TemporaryDirectory place;
  const std::string address = "unix:" + place.path() + "/admin";
  Daemon daemon(with_routes(address));
  const Finished once = run({FIBERD_BINARY, "top", "--once", "--interval", "100ms", "--address", address});
  INFO(once.output << once.errors);
  CHECK(once.code == 0);
  CHECK(once.output.starts_with("fiberd "));
  for (const char* const part : {"requests ", "P0 ", "ROUTE by rate", "web /", "FIBERS by fibers", "stalls "})
    CHECK(once.output.find(part) != std::string::npos);
  CHECK(once.output.find('\x1b') == std::string::npos);
  for (std::size_t at = 0; at < once.output.size();) {
    const std::size_t end = once.output.find('\n', at);
    CHECK(top::display_width(std::string_view(once.output).substr(at, end - at)) <= 80);
    at = end + 1;
  }
  // Its output is no terminal: once, without being told so. The address is the file's.
  const Finished by_file = run({FIBERD_BINARY, "top", "--interval", "100ms", "-c", daemon.config_file()});
  CHECK(by_file.code == 0);
  CHECK(by_file.output.starts_with("fiberd "));
  CHECK(run({FIBERD_BINARY, "top", "--address", "nonsense"}).code == 2);
  CHECK(run({FIBERD_BINARY, "top", "--interval", "1ms", "--address", address}).code == 2);
  CHECK(run({FIBERD_BINARY, "top", "--sort", "colour", "--address", address}).code == 2);
  CHECK(daemon.stop() == 0);
  const Finished nobody = run({FIBERD_BINARY, "top", "--address", address});
  CHECK(nobody.code == 1);
  CHECK(nobody.errors.starts_with("top: unix:"));
}

TEST_CASE("top draws, takes keys, follows the terminal's size, and gives the terminal back", "[integration][top]") {
  Daemon daemon(with_routes("127.0.0.1:0"));
  HttpClient busy(daemon.port("web"));
  busy.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  const std::string address = "127.0.0.1:" + std::to_string(daemon.port("admin"));
  TopOnTerminal terminal({"--address", address, "--interval", "100ms"});
  const auto fits = [](const std::vector<std::string>& lines, std::size_t columns, std::size_t rows) {
    CHECK(lines.size() == rows);
    for (const std::string& line : lines) CHECK(top::display_width(line) <= columns);
  };
  fits(terminal.screen([](const auto& lines) { return any_has(lines, "ROUTE by rate") && any_has(lines, "io_read"); }),
       80, 24);
  terminal.type("l");
  (void)terminal.screen([](const auto& lines) { return any_has(lines, "ROUTE by latency"); });
  terminal.type("e");
  (void)terminal.screen([](const auto& lines) { return any_has(lines, "ROUTE by errors"); });
  terminal.resize(40, 12);
  fits(terminal.screen([](const auto& lines) { return lines.size() == 12; }), 40, 12);
  terminal.resize(132, 40);
  fits(terminal.screen([](const auto& lines) { return lines.size() == 40; }), 132, 40);
  // The fibers by the age of their waits: the one that waits for its body is among the first, and has a stack.
  terminal.type("n\t");
  terminal.type("a");
  (void)terminal.screen([](const auto& lines) { return any_has(lines, "FIBERS by age"); });
  std::vector<std::string> stacks;
  for (int i = 0; i < 10 && !any_has(stacks, "serve_request"); ++i) {
    terminal.type("\r");
    stacks = terminal.screen([](const auto& lines) { return any_has(lines, "fibers of "); });
    if (any_has(stacks, "io_read")) break;
    terminal.type("q");
    (void)terminal.screen([](const auto& lines) { return any_has(lines, "FIBERS by age"); });
    terminal.type("\x1b[B");
  }
  CHECK(any_has(stacks, "io_read"));
  CHECK(any_has(stacks, "spawned at core/http/h1/"));
  terminal.type("qq");
  std::string rest;
  const int status = terminal.end(rest);
  CHECK((WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(rest.find("\x1b[?1049l") != std::string::npos);
  CHECK(terminal.restored());
  for (const int signo : {SIGTERM, SIGINT, SIGHUP}) {
    INFO(signo);
    TopOnTerminal ended({"--address", address, "--interval", "10s"});
    (void)ended.screen([](const auto& lines) { return any_has(lines, "q quit"); });
    ended.signal(signo);
    std::string last;
    const int outcome = ended.end(last);
    CHECK((WIFEXITED(outcome) && WEXITSTATUS(outcome) == 0));
    CHECK(last.find("\x1b[?25h") != std::string::npos);
    CHECK(last.find("\x1b[?1049l") != std::string::npos);
    CHECK(ended.restored());
  }
  CHECK(daemon.stop() == 0);
}

TEST_CASE("top gives the terminal back when it breaks, and goes on when the daemon is gone", "[integration][top]") {
  Daemon daemon(with_routes("127.0.0.1:0"));
  const std::string address = "127.0.0.1:" + std::to_string(daemon.port("admin"));
  TopOnTerminal terminal({"--address", address, "--interval", "100ms"});
  (void)terminal.screen([](const auto& lines) { return any_has(lines, "q quit"); });
  CHECK(daemon.stop() == 0);
  (void)terminal.screen([&](const auto& lines) { return any_has(lines, address + ": Connection refused"); });
  terminal.signal(SIGABRT);
  std::string rest;
  const int status = terminal.end(rest);
  CHECK(!(WIFEXITED(status) && WEXITSTATUS(status) == 0));
  CHECK(rest.find("\x1b[?1049l") != std::string::npos);
  CHECK(terminal.restored());
}

TEST_CASE("the console is small, loads nothing from elsewhere, and is not sent twice", "[integration][console]") {
  Daemon daemon(with_routes("127.0.0.1:0"));
  HttpClient client(daemon.port("admin"));
  std::size_t packed = 0;
  for (const fiberd::daemon::ConsoleFile& file : fiberd::daemon::console_files()) {
    const std::string path = "/console" + (file.path.empty() ? std::string() : "/" + std::string(file.path));
    INFO(path);
    const auto gzip = client.ask(get_admin(path, "Accept-Encoding: gzip\r\n"));
    REQUIRE(gzip);
    CHECK(gzip->status == 200);
    CHECK(gzip->field("Content-Encoding") == "gzip");
    CHECK(gzip->field("Vary") == "Accept-Encoding");
    packed += gzip->body.size();
    const std::string policy = gzip->field("Content-Security-Policy");
    for (const char* const rule : {"default-src 'none'", "script-src 'self'", "style-src 'self'", "connect-src 'self'",
                                   "img-src 'self' data:", "frame-ancestors 'none'"})
      CHECK(policy.find(rule) != std::string::npos);
    CHECK(policy.find("unsafe") == std::string::npos);
    CHECK(policy.find('*') == std::string::npos);
    const auto plain = client.ask(get_admin(path));
    REQUIRE(plain);
    CHECK(plain->field("Content-Encoding").empty());
    CHECK(plain->body == decompress("gzip", gzip->body));
    CHECK(plain->field("ETag") != gzip->field("ETag"));
    const auto again =
        client.ask(get_admin(path, "Accept-Encoding: gzip\r\nIf-None-Match: " + gzip->field("ETag") + "\r\n"));
    REQUIRE(again);
    CHECK(again->status == 304);
    CHECK(again->body.empty());
    if (file.path == "uplot-license.txt") {
      CHECK(plain->body.find("The MIT License") != std::string::npos);
      continue;
    }
    // The one address that stands in them is the comment at uPlot's head, which names where it comes from.
    std::string text = plain->body;
    static const std::string kComment = "/*! https://github.com/leeoniya/uPlot";
    if (text.starts_with(kComment)) text.erase(0, kComment.size());
    for (const char* const foreign : {"http://", "https://", "//cdn", "@import", "url("})
      CHECK(text.find(foreign) == std::string::npos);
    // What the daemon says is put in as text.
    for (const char* const markup : {"innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval("})
      if (file.path == "console.js") CHECK(text.find(markup) == std::string::npos);
  }
  CHECK(packed > 1024);
  CHECK(packed <= std::size_t{100} * 1024);
  CHECK(daemon.admin("/console/pages.json").find("\"/debug/status\"") != std::string::npos);
  CHECK(daemon.admin("/").find("\n/console\n") != std::string::npos);
  CHECK(daemon.admin_status("/console/nothing") == 404);
  CHECK(daemon.stop() == 0);
}
