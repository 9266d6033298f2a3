// The daemon on sockets that whoever starts it has bound, as systemd does: what they are used for, and that they are
// still good when it has gone.
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstring>
#include <string>

#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/held_socket.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/paced_load.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

Daemon::Options given(std::vector<int> listening, const std::string& names) {
  return {.environment = {{"LISTEN_FDNAMES", names}}, .listening = std::move(listening)};
}

std::string hello(const std::string& address) {
  return with_listeners(http_listener("web", says("/", "hello"), {}, "\"" + address + "\""));
}

Finished refused(const std::string& yaml, const std::vector<int>& listening,
                 const std::map<std::string, std::string>& environment) {
  const TemporaryDirectory directory;
  return run({.arguments = {FIBERD_BINARY, "run", "-c", directory.write("fiberd.yaml", yaml)},
              .environment = environment,
              .listening = listening});
}

bool says_so(const Finished& finished, const std::string& text) {
  UNSCOPED_INFO(finished.errors);
  return finished.errors.find(text) != std::string::npos;
}

std::string ask_unix(const std::string& path, bool only_connect, int& fd) {
  fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const sockaddr_un address = unix_address(path);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) return "no connection";
  static constexpr std::string_view kRequest = "GET / HTTP/1.0\r\nHost: a\r\n\r\n";
  (void)::send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL);
  if (only_connect) return {};
  std::string text;
  char piece[1024];
  for (ssize_t n = 0; (n = ::recv(fd, piece, sizeof piece, 0)) > 0;) text.append(piece, static_cast<std::size_t>(n));
  return text;
}

}  // namespace

TEST_CASE("a listener is given its socket by name; who connects when nobody runs is served by the next one",
          "[integration][daemon][activation]") {
  const HeldSocket web;
  const HeldSocket admin;
  const std::string yaml = hello("127.0.0.1:0");
  {
    Daemon daemon(yaml, given({web.fd(), admin.fd()}, "web:admin"));
    CHECK(daemon.port("web") == web.port());
    CHECK(daemon.port("admin") == admin.port());
    CHECK(HttpClient(web.port()).ask(get("/")).value().body == "hello");
    CHECK(daemon.wait_for_log("web (http, inherited)"));
    // A program that it started would not have them.
    for (const char* const fd : {"3", "4"}) {
      const std::string info = read_file("/proc/" + std::to_string(daemon.process().pid()) + "/fdinfo/" + fd);
      const std::size_t flags = info.find("flags:");
      REQUIRE(flags != std::string::npos);
      CHECK((std::strtoul(info.c_str() + flags + 6, nullptr, 8) & O_CLOEXEC) != 0);
    }
    CHECK(daemon.stop() == 0);
  }
  HttpClient early(web.port());
  REQUIRE(early.send(get("/")));
  Daemon next(yaml, given({web.fd(), admin.fd()}, "web:admin"));
  CHECK(early.receive().value().body == "hello");
  CHECK(next.stop() == 0);
}

TEST_CASE("a Unix socket that is inherited keeps its file and its mode", "[integration][daemon][activation]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/web.sock";
  const HeldSocket web(path);
  REQUIRE(::chmod(path.c_str(), 0640) == 0);
  const std::string yaml = with_listeners("  - {name: web, address: \"unix:" + path +
                                          "\", mode: 0600, http: {routes: [" + says("/", "hello") + "]}}\n");
  int fd = -1;
  {
    Daemon daemon(yaml, given({web.fd()}, "fiberd.socket"));
    CHECK(ask_unix(path, false, fd).ends_with("hello"));
    ::close(fd);
    const Answer reloaded = HttpClient(daemon.port("admin"))
                                .ask("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
                                .value();
    CHECK(reloaded.status == 200);
    CHECK(ask_unix(path, false, fd).ends_with("hello"));
    ::close(fd);
    CHECK(daemon.stop() == 0);
  }
  struct stat st {};
  REQUIRE(::stat(path.c_str(), &st) == 0);
  CHECK((st.st_mode & 0777U) == 0640);
  CHECK(ask_unix(path, true, fd).empty());
  Daemon next(yaml, given({web.fd()}, "fiberd.socket"));
  char byte = 0;
  const timeval limit{10, 0};
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  CHECK(::recv(fd, &byte, 1, 0) == 1);
  ::close(fd);
  CHECK(next.stop() == 0);
}

TEST_CASE("an admin socket that everybody reaches needs a token, whoever has bound it",
          "[integration][daemon][activation]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/admin.sock";
  const HeldSocket admin(path);
  const std::string there = "admin: {address: \"unix:" + path + "\", mode: 0600";
  const std::string rest = "}\nlisteners:\n" + http_listener("web", says("/", "hello"));
  const auto with_mode = [&](mode_t mode) { REQUIRE(::chmod(path.c_str(), mode) == 0); };
  with_mode(0666);
  const Finished open = refused(there + rest, {admin.fd()}, {{"LISTEN_FDNAMES", "admin"}});
  CHECK(open.code == 2);
  CHECK(says_so(open, "that needs admin.token_file"));
  CHECK(says_so(open, "SocketMode=0660"));
  const int everywhere = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(::listen(everywhere, 16) == 0);  // which binds it to a free port of 0.0.0.0
  const Finished far = refused(hello("127.0.0.1:0"), {everywhere}, {{"LISTEN_FDNAMES", "admin"}});
  ::close(everywhere);
  CHECK(far.code == 2);
  CHECK(says_so(far, "that needs admin.token_file"));
  const auto asks = [&](const std::string& line) {
    return run({FIBERD_BINARY, "reload", "--address", "unix:" + path, "--token-file", line});
  };
  const std::string token = directory.write("token", "0123456789abcdef");
  Daemon daemon(there + ", token_file: " + token + rest, given({admin.fd()}, "admin"));
  CHECK(asks(token).code == 0);
  // Nor does a reload take the token away, before the mode is another one.
  daemon.write_config(there + rest);
  CHECK(asks(token).code != 0);
  with_mode(0660);
  CHECK(asks(token).code == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a Unix socket of no listener's name is found by another name of its file",
          "[integration][daemon][activation]") {
  const TemporaryDirectory directory;
  REQUIRE(::mkdir((directory.path() + "/run").c_str(), 0755) == 0);
  REQUIRE(::symlink("run", (directory.path() + "/var-run").c_str()) == 0);
  const std::string path = directory.path() + "/run/web.sock";
  const HeldSocket web(path);
  Daemon daemon(hello("unix:" + directory.path() + "/var-run/web.sock"), given({web.fd()}, "fiberd.socket"));
  int fd = -1;
  CHECK(ask_unix(path, false, fd).ends_with("hello"));
  ::close(fd);
  CHECK(daemon.log().find("in place of the configured") == std::string::npos);
  CHECK(daemon.stop() == 0);
  CHECK(::access(path.c_str(), F_OK) == 0);
}

TEST_CASE("a datagram that came before the daemon is counted by it", "[integration][daemon][activation]") {
  const HeldSocket stats(SOCK_DGRAM);
  const int sender = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(stats.port());
  REQUIRE(::sendto(sender, "x:1|c", 5, 0, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 5);
  ::close(sender);
  Daemon daemon(with_listeners("  - {name: stats, address: \"127.0.0.1:0\", aggregate: {protocol: udp}}\n"),
                given({stats.fd()}, "stats"));
  CHECK(daemon.port("stats") == stats.port());
  CHECK(eventually([&] { return daemon.metric("fiberd_aggregate_datagrams_total{listener=\"stats\"}") == 1.0; }));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("sockets that are not what was said are refused in one line that names them",
          "[integration][daemon][activation]") {
  const HeldSocket tcp;
  const HeldSocket udp(SOCK_DGRAM);
  const std::string yaml = hello("127.0.0.1:0");
  const auto is_refused = [&](const Finished& finished, const std::string& text) {
    CHECK(finished.code == 2);
    CHECK(says_so(finished, text));
  };
  is_refused(refused(yaml, {tcp.fd(), -1}, {{"LISTEN_FDNAMES", "web:admin"}}), "descriptor 4 (admin) is not open");
  is_refused(refused(yaml, {tcp.fd()}, {{"LISTEN_FDS", "3"}}), "LISTEN_FDS=3, but descriptor 4 is not open");
  is_refused(refused(yaml, {udp.fd()}, {{"LISTEN_FDNAMES", "web"}}),
             "descriptor 3 (web) is a UDP socket, but listener web speaks TCP: ListenStream=");
  is_refused(refused(yaml, {tcp.fd()}, {{"LISTEN_FDNAMES", "web:admin"}}), "LISTEN_FDNAMES names 2 sockets");
  for (const char* const count : {"-1", "x", "1000000000", ""})
    is_refused(refused(yaml, {tcp.fd()}, {{"LISTEN_FDS", count}}), "LISTEN_FDS=");
}

TEST_CASE("sockets for another process, or that no listener wants, are not used, with a warning",
          "[integration][daemon][activation]") {
  const HeldSocket web;
  {
    Daemon daemon(hello("127.0.0.1:0"),
                  {.environment = {{"LISTEN_PID", "1"}, {"LISTEN_FDNAMES", "web"}}, .listening = {web.fd()}});
    CHECK(daemon.port("web") != web.port());
    CHECK(daemon.wait_for_log("LISTEN_FDS: the sockets are for process"));
    CHECK(daemon.stop() == 0);
  }
  Daemon daemon(hello("127.0.0.1:0"), given({web.fd()}, "unknown"));
  CHECK(daemon.port("web") != web.port());
  CHECK(daemon.log().find("descriptor 3 (unknown) listens at 127.0.0.1:" + std::to_string(web.port()) +
                          ", and no listener wants it: closed") != std::string::npos);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a check knows nothing of sockets that are inherited", "[integration][daemon][activation]") {
  const HeldSocket udp(SOCK_DGRAM);
  const TemporaryDirectory directory;
  const Finished checked = run({.arguments = {FIBERD_BINARY, "check", directory.write("f.yaml", hello("127.0.0.1:0"))},
                                .environment = {{"LISTEN_FDNAMES", "web"}},
                                .listening = {udp.fd()}});
  CHECK(checked.code == 0);
  CHECK(checked.errors.empty());
}

TEST_CASE("a restart on inherited sockets under load: no request fails", "[integration][daemon][activation]") {
  const HeldSocket web;
  const std::string yaml = hello("127.0.0.1:0");
  std::optional<Daemon> daemon(std::in_place, yaml, given({web.fd()}, "web"));
  PacedLoad load({.port = web.port(), .connections = 50, .rate = 400, .body = "hello"});
  for (int i = 0; i < 2; ++i) {
    const std::uint64_t before = load.answered();
    CHECK(eventually([&] { return load.answered() > before + 100; }));
    CHECK(daemon->stop() == 0);
    daemon.reset();
    daemon.emplace(yaml, given({web.fd()}, "web"));
  }
  const std::uint64_t before = load.answered();
  CHECK(eventually([&] { return load.answered() > before + 100; }));
  const PacedLoad::Outcome outcome = load.finish();
  INFO(outcome.first_failure);
  CHECK(outcome.failed == 0);
  CHECK(outcome.answered == outcome.asked);
  CHECK(daemon->stop() == 0);
}

TEST_CASE("who may not bind an address serves there by the socket that he is given, and reloads",
          "[integration][daemon][activation]") {
  if (::geteuid() != 0) {
    WARN("skipped: only root becomes somebody who may less");
    return;
  }
  static constexpr unsigned kNobody = 65534;
  const TemporaryDirectory directory;
  REQUIRE(::chmod(directory.path().c_str(), 0755) == 0);
  const std::string path = directory.path() + "/web.sock";
  const HeldSocket web(path);
  REQUIRE(::chmod(path.c_str(), 0666) == 0);
  const std::string file =
      directory.write("fiberd.yaml", with_listeners("  - {name: web, address: \"unix:" + path + "\", http: {routes: [" +
                                                    says("/", "hello") + "]}}\n"));
  Process process({.arguments = {FIBERD_BINARY, "run", "-c", file},
                   .environment = {{"LISTEN_FDNAMES", "web"}},
                   .user = kNobody,
                   .listening = {web.fd()}});
  REQUIRE(
      eventually([&] { return process.errors().find(" started: ") != std::string::npos || !process.running(); }, 30s));
  INFO(process.errors());
  REQUIRE(process.running());
  process.signal(SIGHUP);
  CHECK(eventually([&] { return process.errors().find("reloaded ") != std::string::npos; }));
  int fd = -1;
  CHECK(ask_unix(path, false, fd).ends_with("hello"));
  ::close(fd);
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
}
