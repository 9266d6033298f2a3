// The commands that look at a configuration, or at a daemon that runs: what they print, and their exit codes.
#include <fcntl.h>
#include <pty.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/held_socket.hpp"

using namespace fiberd::test;

namespace {

Finished command_says(const std::vector<std::string>& arguments) {
  std::vector<std::string> all{FIBERD_BINARY};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return run(all);
}

/// With `text` as its standard input.
Finished command_reads(const std::string& text, const std::string& arguments) {
  const TemporaryDirectory directory;
  const std::string input = directory.write("input", text);
  return run({"sh", "-c", "cat '" + input + "' | " FIBERD_BINARY " " + arguments});
}

std::string admin_address(const Daemon& daemon) { return "127.0.0.1:" + std::to_string(daemon.port("admin")); }

bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

std::size_t count_lines(const std::string& text) {
  return static_cast<std::size_t>(std::count(text.begin(), text.end(), '\n'));
}

/// Stands where an admin listener is asked for, and answers one question: `head`, then `body` byte by byte.
class Impostor {
 public:
  Impostor(const std::string& head, const std::string& body, std::chrono::milliseconds pause)
      : thread_([this, head, body, pause] {
          const int fd = ::accept4(socket_.fd(), nullptr, nullptr, SOCK_CLOEXEC);
          char question[4096];
          if (::recv(fd, question, sizeof question, 0) <= 0) return (void)::close(fd);
          bool there = ::send(fd, head.data(), head.size(), MSG_NOSIGNAL) > 0;
          for (std::size_t i = 0; there && i < body.size(); ++i) {
            std::this_thread::sleep_for(pause);
            there = ::send(fd, &body[i], 1, MSG_NOSIGNAL) == 1;
          }
          ::close(fd);
        }) {}
  ~Impostor() {
    (void)::shutdown(socket_.fd(), SHUT_RDWR);  // nobody came
    thread_.join();
  }
  Impostor(const Impostor&) = delete;
  Impostor& operator=(const Impostor&) = delete;
  [[nodiscard]] std::string address() const { return "127.0.0.1:" + std::to_string(socket_.port()); }

 private:
  HeldSocket socket_;
  std::thread thread_;
};

/// What a command prints on a terminal of its own.
std::string said_on_terminal(const std::vector<std::string>& arguments, bool no_color) {
  int master = -1;
  const pid_t pid = ::forkpty(&master, nullptr, nullptr, nullptr);
  if (pid == 0) {
    ::setenv("TERM", "xterm", 1);
    if (no_color)
      ::setenv("NO_COLOR", "1", 1);
    else
      ::unsetenv("NO_COLOR");
    std::vector<char*> pointers;
    std::vector<std::string> all(arguments);
    for (std::string& a : all) pointers.push_back(a.data());
    pointers.push_back(nullptr);
    ::execv(FIBERD_BINARY, pointers.data());
    ::_exit(127);
  }
  std::string text;
  char buffer[4096];
  for (ssize_t n = 0; (n = ::read(master, buffer, sizeof buffer)) > 0;)
    text.append(buffer, static_cast<std::size_t>(n));
  (void)::waitpid(pid, nullptr, 0);
  ::close(master);
  return text;
}

}  // namespace

TEST_CASE("check - reads standard input, once", "[integration][commands][check]") {
  const Finished good = command_reads(web(), "check -");
  INFO(good.errors);
  CHECK(good.code == 0);
  CHECK(good.output == "standard input: ok\n");
  const Finished bad = command_reads("listeners: 5\n", "check -");
  CHECK(bad.code == 2);
  CHECK(holds(bad.errors, "standard input:1:12: listeners: "));
  const Finished named = command_reads("listeners: 5\n", "check -c -");
  CHECK(named.code == 2);
  CHECK(holds(named.errors, "standard input:1:12: listeners: "));
  const Finished large = command_reads("#" + std::string(2'000'000, 'x') + "\n", "check -");
  CHECK(large.code == 2);
  const Finished closed = run({"sh", "-c", FIBERD_BINARY " check - <&-"});
  CHECK(closed.code == 2);
}

TEST_CASE("check --show prints what is in effect; a check of that says the same", "[integration][commands][check]") {
  const std::string text =
      with_listeners(http_listener("web", says("/", "hi"), ", headers: {set: {Authorization: hunter2}}"));
  const Finished shown = command_reads(text, "check --show - --set shutdown.delay=7s");
  INFO(shown.errors + shown.output);
  CHECK(shown.code == 0);
  CHECK(holds(shown.output, "  delay: 7s\n"));
  CHECK(holds(shown.output, "  timeout: 30s  # default\n"));
  CHECK(holds(shown.output, "\"Authorization\": \"***\"\n"));
  CHECK_FALSE(holds(shown.output, "hunter2"));
  CHECK(command_reads(shown.output, "check -").code == 0);
  const Finished bad = command_reads("listeners: 5\n", "check --show -");
  CHECK(bad.code == 2);
  CHECK(bad.output.empty());
}

TEST_CASE("healthcheck: one line, exit code 0 or 1", "[integration][commands][healthcheck]") {
  const TemporaryDirectory directory;
  const std::string socket = "unix:" + directory.path() + "/admin.sock";
  const std::uint16_t metrics = free_port();
  const std::string here = "127.0.0.1:" + std::to_string(metrics);
  Daemon daemon("admin: {address: \"" + socket + "\"}\nmetrics: {address: \"" + here +
                "\"}\nshutdown: {delay: 1h}\nlisteners: [{name: t, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  const Finished healthy = command_says({"healthcheck", "-c", daemon.config_file()});
  INFO(healthy.errors);
  CHECK(healthy.code == 0);
  CHECK(healthy.output == "healthy: " + socket + "\n");
  CHECK(healthy.errors.empty());
  // Without an admin listener the metrics' one is asked; of both of the command line's.
  const std::string off =
      directory.write("off.yaml", "admin: {address: off}\nmetrics: {address: \"" + here + "\"}\nlisteners: []\n");
  CHECK(command_says({"healthcheck", off}).output == "healthy: " + here + "\n");
  CHECK(command_says({"healthcheck", "--address", here}).code == 0);
  // A file that has become wrong says nothing about the daemon, which goes on with the one before.
  daemon.write_config("admin: {address: \"" + socket + "\"}\nlisteners: 5\n");
  CHECK(command_says({"healthcheck", "-c", daemon.config_file()}).code == 0);
  daemon.process().signal(SIGTERM);
  CHECK(eventually([&] { return command_says({"healthcheck", "--address", socket}).code == 1; }));
  const Finished draining = command_says({"healthcheck", "--address", socket});
  CHECK(draining.errors == "unhealthy: " + socket + ": /readyz is answered 503: not ready\n");
  CHECK(draining.output.empty());
  (void)daemon.stop_again();
  CHECK(daemon.process().wait());
}

TEST_CASE("healthcheck: whatever is in the way, it is one line and 1", "[integration][commands][healthcheck]") {
  const TemporaryDirectory directory;
  const std::string none = directory.write("none.yaml", "admin: {address: off}\n" + std::string("listeners: []\n"));
  const std::string any = directory.write("any.yaml", "admin: {address: \"127.0.0.1:0\"}\nlisteners: []\n");
  Daemon other(web());  // no fiberd's admin
  const std::string gone = "unix:" + directory.path() + "/gone";
  for (const std::vector<std::string>& words : {std::vector<std::string>{none},
                                                {any},
                                                {"--address", gone},
                                                {"--address", "nonsense"},
                                                {"--address", "127.0.0.1:" + std::to_string(other.port("web"))}}) {
    std::vector<std::string> all{"healthcheck"};
    all.insert(all.end(), words.begin(), words.end());
    const Finished said = command_says(all);
    INFO(said.errors);
    CHECK(said.code == 1);
    CHECK(said.errors.starts_with("unhealthy: "));
    CHECK(count_lines(said.errors) == 1);
    CHECK(said.output.empty());
  }
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"healthcheck", "--nothing"}, {"healthcheck", any, "-c", none}})
    CHECK(command_says(words).code == 1);
}

TEST_CASE("healthcheck: a file that says nothing is to blame, and not the daemon",
          "[integration][commands][healthcheck]") {
  const TemporaryDirectory directory;
  const std::string torn = directory.write("torn.yaml", "listeners: [\n");
  const std::string prose = directory.write("prose.yaml", "no configuration\n");
  const std::string gone = directory.path() + "/gone.yaml";
  for (const auto& [file, why] : {std::pair(torn, torn + ":2:1: not valid YAML"),
                                  {prose, prose + ":1:1: must be"},
                                  {gone, gone + ": cannot be read: No such file"}}) {
    const Finished said = command_says({"healthcheck", "-c", file});
    INFO(said.errors);
    CHECK(said.code == 1);
    CHECK(said.errors.starts_with("unhealthy: " + why));
    CHECK(said.errors.ends_with("; nobody was asked: --address\n"));
    CHECK(count_lines(said.errors) == 1);
    CHECK_FALSE(holds(said.errors, "127.0.0.1:9090"));
    CHECK(said.output.empty());
  }
  // One that says where nobody is, and is wrong elsewhere: both are told.
  const std::string nobody = "unix:" + directory.path() + "/nobody";
  const std::string wrong = directory.write("wrong.yaml", "admin: {address: \"" + nobody + "\"}\nlisteners: 5\n");
  const Finished both = command_says({"healthcheck", "-c", wrong});
  CHECK(both.code == 1);
  CHECK(both.errors.starts_with("unhealthy: " + nobody + ": No such file"));
  CHECK(holds(both.errors, "; the file is wrong, too: " + wrong + ":2:"));
}

TEST_CASE("healthcheck does not wait for an answer that never gets whole", "[integration][commands][healthcheck]") {
  using namespace std::chrono_literals;
  // Each byte is in time, and all of them would be an answer, after 15 s.
  const Impostor slow("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n", "ready\n", 2500ms);
  const Finished said = command_says({"healthcheck", "--address", slow.address()});
  CHECK(said.code == 1);
  CHECK(said.errors == "unhealthy: " + slow.address() + ": no answer: Connection timed out\n");
}

TEST_CASE("reload, upgrade: what answers there moves no cursor", "[integration][commands]") {
  using namespace std::chrono_literals;
  const Impostor other("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n", "a\033[2Jb\nc\rd\n", 0ms);
  CHECK(command_says({"reload", "--address", other.address()}).output == "a\\x1b[2Jb\nc\\x0dd\n");
  const Impostor third("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n", "a\033[2Jb\nc\rd\n", 0ms);
  CHECK(command_says({"upgrade", "--address", third.address()}).output == "a\\x1b[2Jb\nc\\x0dd\n");
}

TEST_CASE("status: a screen, an object, and the last reload", "[integration][commands][status]") {
  Daemon daemon(web());
  const std::vector<std::string> ask{"status", "--address", admin_address(daemon), "--interval", "100ms"};
  const Finished first = command_says(ask);
  INFO(first.errors + first.output);
  CHECK(first.code == 0);
  CHECK(holds(first.output, "pid " + std::to_string(daemon.process().pid())));
  CHECK(holds(first.output, "  ready\n"));
  CHECK(holds(first.output, "last reload    none since the start"));
  CHECK(holds(first.output, "127.0.0.1:" + std::to_string(daemon.port("web"))));
  CHECK(holds(first.output, daemon.config_file()));
  CHECK(count_lines(first.output) <= 24);
  CHECK_FALSE(holds(first.output, "\x1b"));
  daemon.write_config("listeners: 5\n");
  CHECK(command_says({"reload", "--address", admin_address(daemon)}).code == 2);
  const Finished refused = command_says(ask);
  CHECK(holds(refused.output, "last reload    refused; what serves was loaded"));
  std::vector<std::string> json(ask);
  json.emplace_back("--json");
  const Finished object = command_says(json);
  CHECK(object.code == 0);
  CHECK(count_lines(object.output) == 1);
  CHECK(holds(object.output, R"("last_reload":{"successful":false,)"));
  CHECK(holds(object.output, R"("ready":true)"));
  CHECK(holds(object.output, R"("listener":"web","what":"http)"));
}

TEST_CASE("status: exit codes", "[integration][commands][status]") {
  const TemporaryDirectory directory;
  const Finished nobody = command_says({"status", "--address", "unix:" + directory.path() + "/none"});
  CHECK(nobody.code == 1);
  CHECK(nobody.errors.starts_with("status: "));
  CHECK(count_lines(nobody.errors) == 1);
  CHECK(command_says({"status", "--address", "nonsense"}).code == 2);
  CHECK(command_says({"status", "--interval", "1ms"}).code == 2);
  CHECK(command_says({"status", "--set", "log.level=info"}).code == 2);
  const std::string off = directory.write(
      "off.yaml", "admin: {address: off}\nlisteners: [{name: t, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  const Finished none = command_says({"status", off});
  CHECK(none.code == 2);
  CHECK(holds(none.errors, "no admin listener"));
  const std::string token = directory.write("token", "0123456789abcdef0123456789abcdef\n");
  Daemon daemon("admin: {address: \"127.0.0.1:0\", token_file: \"" + token +
                "\"}\nlisteners: [{name: t, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  CHECK(command_says({"status", "--address", admin_address(daemon)}).code == 2);
  CHECK(
      command_says({"status", "--address", admin_address(daemon), "--token-file", token, "--interval", "100ms"}).code ==
      0);
  CHECK(command_says({"healthcheck", "--address", admin_address(daemon)}).code == 0);  // needs no token
}

TEST_CASE("colours are for terminals, and for who wants them", "[integration][commands]") {
  Daemon daemon(web());
  const std::vector<std::string> ask{"fiberd", "status", "--address", admin_address(daemon), "--interval", "100ms"};
  const std::string coloured = said_on_terminal(ask, false);
  CHECK(holds(coloured, "\x1b[32mready\x1b[0m"));
  const std::string plain = said_on_terminal(ask, true);
  CHECK(holds(plain, "ready"));
  CHECK_FALSE(holds(plain, "\x1b"));
  CHECK(holds(said_on_terminal({"fiberd", "check", daemon.config_file()}, false), "\x1b[32mok\x1b[0m"));
}
