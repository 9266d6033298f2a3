// A hand-over as the new process lives it: the test is the process before, and has the sockets beside it. So it sees
// what the new one does to them, and when.
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <array>
#include <catch2/catch.hpp>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "core/base/clock.hpp"
#include "daemon/upgrade/channel.hpp"
#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/held_socket.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;
using fiberd::daemon::upgrade::Channel;

namespace {

constexpr std::int64_t kLong = 60'000'000'000;

/// The process before, and the one that it has started.
class Before {
 public:
  explicit Before(const std::string& yaml) : yaml_(directory_.write("fiberd.yaml", yaml)) {
    Channel theirs;
    REQUIRE(Channel::make(channel_, theirs));
    next_.emplace(Process::Options{.arguments = {FIBERD_BINARY, "run", "-c", yaml_},
                                   .environment = {{"FIBERD_HAND_OVER", "3"}, {"LISTEN_PID", "1"}, {"LISTEN_FDS", "0"}},
                                   .listening = {theirs.descriptor()}});
    REQUIRE(channel_.send("hello 1 " FIBERD_BINARY));
  }
  void give(const std::string& words, int fd) { REQUIRE(channel_.send("socket " + words, {&fd, 1})); }
  void say(const std::string& word) { REQUIRE(channel_.send(word)); }
  /// Whether it says so; health reports are passed over.
  bool hears(const std::string& word) {
    for (const std::int64_t until = fiberd::monotonic_now() + kLong;;) {
      const auto message = channel_.receive(until);
      if (!message) return false;
      if (message->word() == word) return true;
      if (message->word() == "health") continue;
      UNSCOPED_INFO(message->text);
      return false;
    }
  }
  /// Has all sockets, is ready, and serves, too.
  void lets_serve() {
    say("end");
    REQUIRE(hears("ready"));
    say("serve");
    REQUIRE(hears("serving"));
  }
  void dies() { channel_.close(); }
  [[nodiscard]] Process& next() { return *next_; }
  [[nodiscard]] bool logs(const std::string& text) {
    return eventually([&] { return next_->errors().find(text) != std::string::npos; }, 30s);
  }
  /// Of its own pages.
  [[nodiscard]] std::string metrics(std::uint16_t admin) const {
    const auto answer = HttpClient(admin).ask(get_admin("/metrics", "Connection: close\r\n"));
    return answer ? answer->body : std::string();
  }

 private:
  TemporaryDirectory directory_;
  std::string yaml_;
  Channel channel_;
  std::optional<Process> next_;
};

int option(int fd, int level, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  (void)::getsockopt(fd, level, name, &value, &size);
  return value;
}

void send_datagrams(std::uint16_t port, int count) {
  const int fd = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  for (int i = 0; i < count; ++i)
    REQUIRE(::sendto(fd, "a:1|c", 5, 0, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 5);
  ::close(fd);
}

/// All that wait at it.
int take_datagrams(int fd) {
  std::array<char, 64> text{};
  int count = 0;
  while (::recv(fd, text.data(), text.size(), MSG_DONTWAIT) >= 0) ++count;
  return count;
}

const std::string kStats = "  - {name: stats, address: \"127.0.0.1:0\", aggregate: {protocol: udp}}\n";

}  // namespace

TEST_CASE("datagrams are the old process's until the new one is to serve, and the new one's from then on",
          "[integration][upgrade]") {
  const HeldSocket stats(SOCK_DGRAM);
  const HeldSocket admin;
  Before before(with_listeners(kStats));
  before.give("udp nobody stats 127.0.0.1:0", stats.fd());
  before.give("tcp nobody admin 127.0.0.1:0", admin.fd());
  before.say("end");
  REQUIRE(before.hears("ready"));
  send_datagrams(stats.port(), 20);
  // A word and its answer: it has had the time to read what it should not.
  CHECK(take_datagrams(stats.fd()) == 20);
  send_datagrams(stats.port(), 5);
  before.say("serve");
  REQUIRE(before.hears("serving"));
  send_datagrams(stats.port(), 7);
  CHECK(eventually(
      [&] {
        return before.metrics(admin.port()).find("fiberd_aggregate_datagrams_total{listener=\"stats\"} 12\n") !=
               std::string::npos;
      },
      30s));
  CHECK(take_datagrams(stats.fd()) == 0);
  before.next().signal(SIGTERM);
  CHECK(before.next().wait() == 0);
}

TEST_CASE("a new process that is stopped before it serves leaves datagrams and clients in the queues",
          "[integration][upgrade]") {
  const HeldSocket stats(SOCK_DGRAM);
  const HeldSocket web;
  Before before(with_listeners(kStats + http_listener("web", says("/", "hello"))));
  before.give("udp nobody stats 127.0.0.1:0", stats.fd());
  before.give("tcp nobody web 127.0.0.1:0", web.fd());
  before.say("end");
  REQUIRE(before.hears("ready"));
  send_datagrams(stats.port(), 10);
  HttpClient client(web.port());
  REQUIRE(client.send(get("/")));
  before.next().signal(SIGTERM);
  CHECK(before.next().wait() == 0);
  CHECK(take_datagrams(stats.fd()) == 10);
  const int accepted = ::accept4(web.fd(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
  CHECK(accepted >= 0);
  ::close(accepted);
}

TEST_CASE("what a new configuration says of a socket holds when the new process serves, and not before",
          "[integration][upgrade]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/web.sock";
  const HeldSocket file(path);
  const HeldSocket web;
  const HeldSocket stats(SOCK_DGRAM);
  REQUIRE(::chmod(path.c_str(), 0666) == 0);
  const auto mode = [&] { return static_cast<unsigned>(std::filesystem::status(path).permissions()); };
  const int room = option(stats.fd(), SOL_SOCKET, SO_RCVBUF);
  Before before(with_listeners(
      "  - {name: file, address: \"unix:" + path + "\", mode: 0600, http: {routes: [" + says("/", "hello") + "]}}\n" +
      http_listener("web", says("/", "hello")) +
      "  - {name: stats, address: \"127.0.0.1:0\", aggregate: {protocol: udp, receive_buffer: 16KiB}}\n"));
  before.give("tcp nobody file unix:" + path, file.fd());
  before.give("tcp nobody web 127.0.0.1:0", web.fd());
  before.give("udp nobody stats 127.0.0.1:0", stats.fd());
  before.say("end");
  REQUIRE(before.hears("ready"));
  CHECK(mode() == 0666);
  CHECK(option(web.fd(), IPPROTO_TCP, TCP_DEFER_ACCEPT) == 0);
  CHECK(option(web.fd(), IPPROTO_TCP, TCP_NODELAY) == 0);
  CHECK(option(stats.fd(), SOL_SOCKET, SO_RCVBUF) == room);
  before.say("serve");
  REQUIRE(before.hears("serving"));
  CHECK(mode() == 0600);
  CHECK(option(web.fd(), IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
  CHECK(option(web.fd(), IPPROTO_TCP, TCP_NODELAY) == 1);
  CHECK(option(stats.fd(), SOL_SOCKET, SO_RCVBUF) != room);
  before.next().signal(SIGTERM);
  CHECK(before.next().wait() == 0);
}

TEST_CASE("the process before dies with half of the sockets handed over: the new one ends, and says why",
          "[integration][upgrade]") {
  const HeldSocket web;
  Before before(with_listeners(http_listener("web", says("/", "hello"))));
  before.give("tcp nobody web 127.0.0.1:0", web.fd());
  before.dies();
  CHECK(before.next().wait(60s).value_or(0) != 0);
  CHECK(before.next().errors().find("hands nothing over") != std::string::npos);
}

TEST_CASE("the process before dies when all sockets are handed over: the new one serves alone",
          "[integration][upgrade]") {
  const HeldSocket web;
  Before before(with_listeners(http_listener("web", says("/", "hello"))));
  before.give("tcp nobody web 127.0.0.1:0", web.fd());
  before.say("end");
  SECTION("before the new one is ready") {}
  SECTION("when it is") { REQUIRE(before.hears("ready")); }
  SECTION("when it serves, too") {
    REQUIRE(before.hears("ready"));
    before.say("serve");
    REQUIRE(before.hears("serving"));
  }
  SECTION("as it tells that it goes") {
    REQUIRE(before.hears("ready"));
    before.say("serve");
    REQUIRE(before.hears("serving"));
    before.say("ours");
  }
  before.dies();
  CHECK(before.logs("ended without a word: this one serves alone"));
  CHECK(HttpClient(web.port()).ask(get("/")).value().body == "hello");
  // It is whole: it can be told to reload, and to stop.
  before.next().signal(SIGHUP);
  CHECK(before.logs("reloaded "));
  before.next().signal(SIGTERM);
  CHECK(before.next().wait() == 0);
}

TEST_CASE(
    "what the process before says of a stop is a first wish, whoever else says it, and a second one when it says so",
    "[integration][upgrade]") {
  const HeldSocket web;
  const HeldSocket admin;
  Before before(with_listeners(http_listener("web", "{path: /echo, echo: {}}"), "shutdown: {timeout: 60s}\n"));
  before.give("tcp nobody web 127.0.0.1:0", web.fd());
  before.give("tcp nobody admin 127.0.0.1:0", admin.fd());
  before.lets_serve();
  HttpClient slow(web.port());
  REQUIRE(slow.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello"));
  REQUIRE(eventually(
      [&] {
        return before.metrics(admin.port()).find("fiberd_listener_connections_active{listener=\"web\"} 1\n") !=
               std::string::npos;
      },
      30s));
  SECTION("the signal to the group comes behind it") {
    before.say("stop");
    REQUIRE(before.logs("and this one with it: stopping"));
    before.next().signal(SIGTERM);
    CHECK(before.logs("signal SIGTERM: stopping already"));
    CHECK(slow.send("world"));
    CHECK(slow.receive().value().body == "helloworld");
  }
  SECTION("it is handed over, and stopped then") {
    before.say("done");
    before.say("stop");
    REQUIRE(before.logs("handed over: this process serves alone"));
    REQUIRE(before.logs("and this one with it: stopping"));
    CHECK(slow.send("world"));
    CHECK(slow.receive().value().body == "helloworld");
  }
  SECTION("twice") {
    before.say("stop");
    REQUIRE(before.logs("and this one with it: stopping"));
    before.say("cut");
    CHECK(before.logs("told twice: what is still open is cut"));
  }
  CHECK(before.next().wait(30s) == 0);
}

TEST_CASE("a reload that the process before passes on is done when the new one serves alone",
          "[integration][upgrade]") {
  const HeldSocket web;
  Before before(with_listeners(http_listener("web", says("/", "hello"))));
  before.give("tcp nobody web 127.0.0.1:0", web.fd());
  before.lets_serve();
  before.say("done");
  before.say("reload");
  CHECK(before.logs("reloaded "));
  before.dies();
  CHECK(HttpClient(web.port()).ask(get("/")).value().body == "hello");
  before.next().signal(SIGTERM);
  CHECK(before.next().wait() == 0);
}
