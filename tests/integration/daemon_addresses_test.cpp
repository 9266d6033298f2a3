// Listeners with several addresses, and addresses that pass from one listener to another while the daemon runs.
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/integration/configurations.hpp"
#include "tests/integration/conversations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;

namespace {

std::string at_each(const std::vector<std::uint16_t>& ports) {
  std::string list;
  for (const std::uint16_t p : ports) list += (list.empty() ? "[" : ", ") + at(p);
  return list + "]";
}
std::string greeter(const std::string& name, const std::string& address, const std::string& body,
                    const std::string& rest = {}) {
  return http_listener(name, says("/", body) + ", {path: /echo, echo: {}}", rest, address);
}
std::string tcp(const std::string& name, const std::string& address, const std::string& rest = {}) {
  return "  - {name: " + name + ", address: " + address + ", tcp: {echo: {}" + rest + "}}\n";
}

Answer reload_listeners(const Daemon& daemon, const std::string& listeners, const std::string& head = kAdmin) {
  return reload(daemon, head + "listeners:\n" + listeners);
}
/// What an echo sends back for "hello".
std::string echo(HttpClient& client) {
  client.send("hello");
  while (client.rest().size() < 5 && client.more()) {
  }
  const std::string said(client.rest());
  return said;
}
void send_datagram(std::uint16_t port, const std::string& text) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  const fiberd::net::Endpoint to = fiberd::net::Endpoint::v4(0x7f000001, port);
  (void)::sendto(fd, text.data(), text.size(), 0, to.data(), to.size());
  ::close(fd);
}
/// A connection that is in the middle of a request; "hello" has been sent of its ten bytes.
std::unique_ptr<HttpClient> upload_to(const Daemon& daemon, std::uint16_t port, const std::string& listener) {
  auto client = std::make_unique<HttpClient>(port);
  client->send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  CHECK(eventually([&] {
    return daemon.metric("fiberd_listener_connections_active{listener=\"" + listener + "\"}").value_or(0) >= 1;
  }));
  return client;
}
std::string finish(HttpClient& upload) {
  upload.send("world");
  const auto answer = upload.receive();
  return answer ? answer->body : "nothing";
}
double metric(const Daemon& daemon, const std::string& sample) { return daemon.metric(sample).value_or(-1); }

}  // namespace

TEST_CASE("a Unix socket whose file was taken away is bound anew by the next reload",
          "[integration][daemon][addresses][reload]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/u.sock";
  const std::string admin = directory.path() + "/admin.sock";
  const auto answers = [](const std::string& at, const std::string& request) -> std::string {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const fiberd::net::Endpoint to = *fiberd::net::Endpoint::parse("unix:" + at);
    std::string got;
    if (::connect(fd, to.data(), to.size()) == 0 && ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) > 0) {
      char data[4096];
      for (ssize_t n = 0; (n = ::recv(fd, data, sizeof data, 0)) > 0;) got.append(data, static_cast<std::size_t>(n));
    }
    ::close(fd);
    return got.substr(0, got.find('\r'));
  };
  const std::string ask = "GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
  const std::string reload_it = "POST /reload HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
  const auto with = [&](const std::string& at) {
    return "admin: {address: \"unix:" + admin + "\"}\nlisteners:\n  - {name: u, address: \"unix:" + at +
           "\", http: {routes: [{path: /hello, respond: {body: x}}]}}\n";
  };
  Daemon daemon(with(path));
  CHECK(answers(path, ask) == "HTTP/1.1 200 OK");
  // Kept: the same file.
  struct stat before {};
  struct stat after {};
  REQUIRE(::lstat(path.c_str(), &before) == 0);
  CHECK(answers(admin, reload_it) == "HTTP/1.1 200 OK");
  REQUIRE(::lstat(path.c_str(), &after) == 0);
  CHECK(before.st_ino == after.st_ino);
  // However it is written.
  daemon.write_config(with(directory.path() + "//./u.sock"));
  CHECK(answers(admin, reload_it) == "HTTP/1.1 200 OK");
  CHECK(answers(path, ask) == "HTTP/1.1 200 OK");
  for (int i = 0; i < 3; ++i) {
    REQUIRE(::unlink(path.c_str()) == 0);
    CHECK(answers(path, ask).empty());
    CHECK(answers(admin, reload_it) == "HTTP/1.1 200 OK");
    CHECK(answers(path, ask) == "HTTP/1.1 200 OK");
  }
  // The one of before is closed, and its end takes nobody's file away.
  CHECK(eventually([&] { return answers(path, ask) == "HTTP/1.1 200 OK"; }));
  REQUIRE(::unlink(admin.c_str()) == 0);
  daemon.process().signal(SIGHUP);
  CHECK(eventually([&] { return answers(admin, ask) == "HTTP/1.1 404 Not Found"; }));
  CHECK(daemon.stop() == 0);
  CHECK_FALSE(std::filesystem::exists(path));
  CHECK_FALSE(std::filesystem::exists(admin));
}

TEST_CASE("a listener with several addresses is one: limits and counters are of all of them",
          "[integration][daemon][addresses]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/t.sock";
  const std::uint16_t a = free_port();
  const std::uint16_t b = free_port();
  Daemon daemon(
      kAdmin + "listeners:\n" +
      tcp("t",
          "[\"127.0.0.1:" + std::to_string(a) + "\", \"127.0.0.1:" + std::to_string(b) + "\", \"unix:" + path + "\"]",
          ", limits: {connections: 3, connections_per_address: 2}") +
      greeter("web", "[\"127.0.0.1:0\", \"127.0.0.1:0\"]", "web"));
  for (const std::string& where : {"127.0.0.1:" + std::to_string(a), "127.0.0.1:" + std::to_string(b), "unix:" + path})
    CHECK(daemon.wait_for_log("listening on " + where + ": t (tcp)"));
  HttpClient first(a);
  CHECK(echo(first) == "hello");
  HttpClient second(b);
  CHECK(echo(second) == "hello");
  HttpClient third(a);
  CHECK(is_closed(third));
  CHECK(metric(daemon, "fiberd_listener_refused_total{listener=\"t\",reason=\"address_limit\"}") == 1);
  const fiberd::net::Endpoint to = *fiberd::net::Endpoint::parse("unix:" + path);
  const auto connect_unix = [&] {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    REQUIRE(::connect(fd, to.data(), to.size()) == 0);
    return fd;
  };
  const int fourth = connect_unix();
  char data[8];
  REQUIRE(::send(fourth, "hello", 5, MSG_NOSIGNAL) == 5);
  CHECK(::recv(fourth, data, sizeof data, 0) == 5);
  const int fifth = connect_unix();
  CHECK(::recv(fifth, data, sizeof data, 0) <= 0);
  CHECK(metric(daemon, "fiberd_listener_refused_total{listener=\"t\",reason=\"limit\"}") == 1);
  CHECK(metric(daemon, "fiberd_listener_connections{listener=\"t\"}") == 3);
  CHECK(metric(daemon, "fiberd_listener_accepted_total{listener=\"t\"}") == 3);
  ::close(fourth);
  ::close(fifth);
  // Two of any port are two.
  const std::string log = daemon.log();
  const std::size_t one = log.find(": web (http)");
  CHECK(log.find(": web (http)", one + 1) != std::string::npos);
  CHECK(daemon.stop() == 0);
  CHECK_FALSE(is_listened_on(a));
  CHECK_FALSE(is_listened_on(b));
}

TEST_CASE("a reload adds and takes away one address of a listener, and connections live on",
          "[integration][daemon][addresses][reload]") {
  const std::uint16_t a = free_port();
  const std::uint16_t b = free_port();
  const std::uint16_t c = free_port();
  const auto with = [&](const std::vector<std::uint16_t>& ports, const std::string& body) {
    return greeter("web", at_each(ports), body, ", limits: {connections: 3}");
  };
  Daemon daemon(kAdmin + "listeners:\n" + with({a, b}, "one"));
  HttpClient by_a(a);
  HttpClient by_b(b);
  CHECK(ask(by_a) == "200 one");
  CHECK(ask(by_b) == "200 one");
  const auto upload = upload_to(daemon, b, "web");
  const Answer answer = reload_listeners(daemon, with({a, c}, "two"));
  CHECK(answer.status == 200);
  CHECK(answer.body.find("listener web moved from 127.0.0.1:" + std::to_string(a) + ", ") != std::string::npos);
  CHECK(eventually([&] { return !is_listened_on(b); }));
  CHECK(finish(*upload) == "helloworld");
  CHECK(ask(by_a) == "200 two");
  CHECK(ask(by_b) == "200 two");
  // Those that came by what is gone are counted still: a fourth takes the place of one that is idle.
  CHECK(metric(daemon, "fiberd_listener_connections{listener=\"web\"}") == 3);
  CHECK(ask(c) == "200 two");
  CHECK(
      eventually([&] { return metric(daemon, "fiberd_http_reclaimed_total{listener=\"web\",state=\"idle\"}") >= 1; }));
  // An address that is taken is refused with its place, and nothing of the rest is done.
  const int taken = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const std::uint16_t theirs = free_port();
  const fiberd::net::Endpoint their_address = fiberd::net::Endpoint::v4(0x7f000001, theirs);
  REQUIRE(::bind(taken, their_address.data(), their_address.size()) == 0);
  REQUIRE(::listen(taken, 1) == 0);
  const Answer refused = reload_listeners(daemon, with({b, theirs}, "three"));
  INFO(refused.body);
  CHECK(refused.status == 422);
  CHECK(refused.body.find("listeners[0].address[1]") != std::string::npos);
  CHECK(ask(a) == "200 two");
  CHECK(ask(c) == "200 two");
  CHECK_FALSE(is_listened_on(b));
  ::close(taken);
  const Answer twice = reload_listeners(daemon, with({a, b, a}, "three"));
  CHECK(twice.status == 422);
  CHECK(twice.body.find("listeners[0].address[2]: ") != std::string::npos);
  CHECK(daemon.metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("an aggregating listener has UDP beside TCP at each address, and may move",
          "[integration][daemon][addresses][reload]") {
  const std::uint16_t a = free_port();
  const std::uint16_t b = free_port();
  const std::uint16_t c = free_port();
  const auto with = [&](const std::vector<std::uint16_t>& ports, const std::string& name = "stats") {
    return "  - {name: " + name + ", address: " + at_each(ports) + ", aggregate: {flush_interval: 100ms}}\n";
  };
  Daemon daemon(kAdmin + "listeners:\n" + with({a, b}));
  const auto shows = [&](const std::string& line) {
    return eventually([&] { return daemon.admin("/aggregate/stats/metrics").find(line) != std::string::npos; });
  };
  HttpClient by_b(b);
  by_b.send("tcp_b:1|g\n");
  send_datagram(a, "udp_a:2|g\n");
  send_datagram(b, "udp_b:3|g\n");
  CHECK(shows("tcp_b 1"));
  CHECK(shows("udp_a 2"));
  CHECK(shows("udp_b 3"));
  const Answer moved = reload_listeners(daemon, with({a, c}));
  INFO(moved.body);
  CHECK(moved.status == 200);
  CHECK(eventually([&] { return !is_listened_on(b); }));
  by_b.send("tcp_b:+4|g\n");
  send_datagram(a, "udp_a:+4|g\n");
  send_datagram(c, "udp_c:7|g\n");
  HttpClient by_c(c);
  by_c.send("tcp_c:8|g\n");
  CHECK(shows("tcp_b 5"));
  CHECK(shows("udp_a 6"));
  CHECK(shows("udp_c 7"));
  CHECK(shows("tcp_c 8"));
  // The one that is gone is free, for UDP, too.
  CHECK(eventually([&] {
    const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    const fiberd::net::Endpoint to = fiberd::net::Endpoint::v4(0x7f000001, b);
    const bool free = ::bind(fd, to.data(), to.size()) == 0;
    ::close(fd);
    return free;
  }));
  // Its UDP sockets do not pass to another listener.
  const Answer renamed = reload_listeners(daemon, with({a, c}, "other"));
  CHECK(renamed.status == 422);
  CHECK(renamed.body.find("UDP addresses do not pass") != std::string::npos);
  CHECK(renamed.body.find("listeners[0].address[0]") != std::string::npos);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a listener that is renamed keeps its address; what it served ends",
          "[integration][daemon][addresses][reload]") {
  const std::uint16_t a = free_port();
  Daemon daemon(kAdmin + "listeners:\n" + greeter("old", at(a), "one"));
  const auto upload = upload_to(daemon, a, "old");
  const Answer answer = reload_listeners(daemon, greeter("new", at(a), "two"));
  INFO(answer.body);
  REQUIRE(answer.status == 200);
  CHECK(answer.body.find("listener new added; listener old removed") != std::string::npos);
  CHECK(ask(a) == "200 two");
  CHECK(metric(daemon, "fiberd_listener_accepted_total{listener=\"new\"}") == 1);
  CHECK(finish(*upload) == "helloworld");
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections{listener=\"old\"}").value_or(0) == 0; }));
  // And back, while somebody holds on to each of them.
  HttpClient kept(a);
  CHECK(ask(kept) == "200 two");
  CHECK(reload_listeners(daemon, greeter("old", at(a), "three")).status == 200);
  CHECK(ask(a) == "200 three");
  CHECK(is_listened_on(a));
  CHECK(daemon.metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("two listeners swap their addresses; their connections stay theirs",
          "[integration][daemon][addresses][reload]") {
  const std::uint16_t a = free_port();
  const std::uint16_t b = free_port();
  const auto with = [&](std::uint16_t one, std::uint16_t two, const std::string& more = {}) {
    return greeter("one", at(one), "one", ", limits: {connections: 2}") + greeter("two", at(two), "two") + more;
  };
  Daemon daemon(kAdmin + "listeners:\n" + with(a, b));
  HttpClient kept_one(a);
  HttpClient kept_two(b);
  CHECK(ask(kept_one) == "200 one");
  CHECK(ask(kept_two) == "200 two");
  const auto upload = upload_to(daemon, a, "one");
  for (int i = 0; i < 5; ++i) {
    const Answer answer = reload_listeners(daemon, i % 2 == 0 ? with(b, a) : with(a, b));
    INFO(answer.body);
    REQUIRE(answer.status == 200);
    CHECK(ask(i % 2 == 0 ? a : b) == "200 two");
  }
  CHECK(ask(kept_one) == "200 one");
  CHECK(ask(kept_two) == "200 two");
  // The limit goes with the listener: both of its places are had by connections that came where it was.
  CHECK(metric(daemon, "fiberd_listener_connections{listener=\"one\"}") == 2);
  CHECK(ask(b) == "200 one");
  CHECK(finish(*upload) == "helloworld");
  // Three in a ring.
  const std::uint16_t c = free_port();
  CHECK(reload_listeners(daemon, with(b, a, greeter("three", at(c), "three"))).status == 200);
  CHECK(reload_listeners(daemon, with(c, b, greeter("three", at(a), "three"))).status == 200);
  CHECK(ask(a) == "200 three");
  CHECK(ask(b) == "200 two");
  CHECK(ask(c) == "200 one");
  CHECK(daemon.metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("the admin listener and another swap their addresses", "[integration][daemon][addresses][reload]") {
  const std::uint16_t a = free_port();
  const std::uint16_t b = free_port();
  const auto head = [](std::uint16_t port) { return "admin: {address: " + at(port) + "}\n"; };
  Daemon daemon(head(a) + "listeners:\n" + greeter("web", at(b), "web"));
  HttpClient kept(b);
  CHECK(ask(kept) == "200 web");
  CHECK(reload_listeners(daemon, greeter("web", at(a), "swapped"), head(b)).status == 200);
  CHECK(ask(a) == "200 swapped");
  CHECK(ask(kept) == "200 swapped");
  HttpClient admin(b);
  admin.send(get_admin("/healthz"));
  const auto answer = admin.receive();
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a listener becomes something else at its address; what it was ends",
          "[integration][daemon][addresses][reload]") {
  const std::uint16_t a = free_port();
  Daemon daemon(kAdmin + "listeners:\n" + greeter("it", at(a), "web"));
  const auto upload = upload_to(daemon, a, "it");
  const Answer answer = reload_listeners(daemon, tcp("it", at(a)));
  INFO(answer.body);
  REQUIRE(answer.status == 200);
  CHECK(answer.body.find("listener it is tcp instead of http") != std::string::npos);
  HttpClient session(a);
  CHECK(echo(session) == "hello");
  CHECK(finish(*upload) == "helloworld");
  const Answer sums =
      reload_listeners(daemon, "  - {name: it, address: " + at(a) + ", aggregate: {flush_interval: 100ms}}\n");
  INFO(sums.body);
  REQUIRE(sums.status == 200);
  HttpClient client(a);
  client.send("clicks:5|g\n");
  send_datagram(a, "datagrams:6|g\n");
  const auto shows = [&](const std::string& line) {
    return eventually([&] { return daemon.admin("/aggregate/it/metrics").find(line) != std::string::npos; });
  };
  CHECK(shows("clicks 5"));
  CHECK(shows("datagrams 6"));
  CHECK(reload_listeners(daemon, greeter("it", at(a), "again")).status == 200);
  CHECK(ask(a) == "200 again");
  CHECK(daemon.metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("addresses pass between listeners under load, and no client is refused",
          "[integration][daemon][addresses][reload]") {
  const std::uint16_t a = free_port();
  const std::uint16_t b = free_port();
  const auto with = [&](std::uint16_t one, std::uint16_t two, int generation) {
    return greeter("one", at(one), "x") + greeter(generation % 3 == 0 ? "two" : "renamed", at(two), "x");
  };
  Daemon daemon(kAdmin + "listeners:\n" + with(a, b, 0));
  std::atomic<bool> over{false};
  std::atomic<unsigned> failed{0};
  std::atomic<unsigned> served{0};
  std::vector<std::thread> clients;
  for (const std::uint16_t port : {a, b})
    clients.emplace_back([&, port] {
      while (!over.load()) {
        if (ask(port) != "200 x") failed.fetch_add(1);
        served.fetch_add(1);
      }
    });
  for (int i = 1; i <= 30; ++i) {
    const Answer answer =
        i % 2 == 0 ? reload_listeners(daemon, with(a, b, i)) : reload_listeners(daemon, with(b, a, i));
    if (answer.status != 200) {
      INFO(answer.body);
      CHECK(answer.status == 200);
      break;
    }
  }
  over.store(true);
  for (auto& client : clients) client.join();
  CHECK(failed == 0);
  CHECK(served > 30);
  CHECK(daemon.metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(daemon.stop() == 0);
}
