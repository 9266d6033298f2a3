// The PROXY protocol in front of the real daemon: who is believed, what is refused, and that nothing is lost.
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tests/integration/conversations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

const std::string kSignature("\r\n\r\n\0\r\nQUIT\n", 12);

/// A header of version 2; `claimed`: the length that it says, where that is not true.
std::string v2(unsigned command, unsigned family, const std::string& body, int claimed = -1) {
  const auto size = static_cast<unsigned>(claimed < 0 ? static_cast<int>(body.size()) : claimed);
  return kSignature +
         std::string{static_cast<char>(command), static_cast<char>(family), static_cast<char>(size >> 8U),
                     static_cast<char>(size & 255U)} +
         body;
}
/// 203.0.113.LAST:12345 → 192.0.2.1:443
std::string v4_body(int last) {
  return std::string("\xcb\x00\x71", 3) + static_cast<char>(last) + std::string("\xc0\x00\x02\x01\x30\x39\x01\xbb", 8);
}
const std::string kV6Body = std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\x01" +
                            std::string("\x20\x01\x0d\xb8", 4) + std::string(11, '\0') + "\x02" + "\x30\x39\x01\xbb";
std::string v1(int last) { return "PROXY TCP4 203.0.113." + std::to_string(last) + " 192.0.2.1 12345 443\r\n"; }
std::string tlv(char type, const std::string& value) {
  return std::string{type, static_cast<char>(value.size() >> 8U), static_cast<char>(value.size() & 255U)} + value;
}

std::string listeners(const std::string& mode, const std::string& timeouts = "{}") {
  return "admin: {address: \"127.0.0.1:0\"}\ntrusted_proxies: [127.0.0.1]\nshutdown: {idle: 100ms}\nlisteners:\n"
         "  - {name: web, address: \"127.0.0.1:0\", proxy_protocol: " +
         mode + ", http: {timeouts: " + timeouts +
         ", access_log: {format: common}, deny: [203.0.113.66], routes: [{path: /, respond: {body: \"${client}\"}}, "
         "{path: /echo, echo: {}}]}}\n"
         "  - {name: tcp, address: \"127.0.0.1:0\", proxy_protocol: " +
         mode + ", tcp: {echo: {}}}\n";
}

/// What a connection that begins with `header` is answered.
std::string ask_behind(std::uint16_t port, const std::string& header) {
  HttpClient client(port);
  client.send(header + get("/"));
  return answer_of(client);
}

double refused(const Daemon& daemon, const std::string& listener, const std::string& reason) {
  return daemon.metric("fiberd_proxy_protocol_refused_total{listener=\"" + listener + "\",reason=\"" + reason + "\"}")
      .value_or(-1);
}
double begun(const Daemon& daemon, const std::string& listener, const std::string& version) {
  return daemon
      .metric("fiberd_proxy_protocol_connections_total{listener=\"" + listener + "\",version=\"" + version + "\"}")
      .value_or(-1);
}

/// All that a client at 127.0.0.9 is sent.
std::string ask_from_elsewhere(std::uint16_t port, const std::string& bytes) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{10, 0};
  (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
  const fiberd::net::Endpoint own = fiberd::net::Endpoint::v4(0x7f000009, 0);
  const fiberd::net::Endpoint to = fiberd::net::Endpoint::v4(0x7f000001, port);
  std::string all;
  if (::bind(fd, own.data(), own.size()) == 0 && ::connect(fd, to.data(), to.size()) == 0) {
    (void)::send(fd, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    (void)::shutdown(fd, SHUT_WR);
    char data[4096];
    for (ssize_t n = 0; (n = ::recv(fd, data, sizeof data, 0)) > 0;) all.append(data, static_cast<std::size_t>(n));
  } else {
    all = "no connection";
  }
  ::close(fd);
  return all;
}

}  // namespace

TEST_CASE("behind a proxy HTTP sees the client, by either version", "[integration][daemon][proxy_protocol]") {
  Daemon daemon(listeners("any"));
  const std::uint16_t web = daemon.port("web");
  CHECK(ask_behind(web, v1(7)) == "200 203.0.113.7");
  CHECK(ask_behind(web, "PROXY TCP6 2001:db8::1 2001:db8::2 12345 443\r\n") == "200 2001:db8::1");
  CHECK(ask_behind(web, v2(0x21, 0x11, v4_body(8))) == "200 203.0.113.8");
  CHECK(ask_behind(web, v2(0x21, 0x21, kV6Body)) == "200 2001:db8::1");
  // With names, checksums and padding behind the addresses, up to what a header may have.
  CHECK(ask_behind(web,
                   v2(0x21, 0x11, v4_body(9) + tlv(1, "h2") + tlv(2, "a.example") + tlv(4, std::string(2000, '\0')))) ==
        "200 203.0.113.9");
  CHECK(ask_behind(web, v2(0x21, 0x11, v4_body(9) + std::string(4096 - 16 - 12, 'x'))) == "200 203.0.113.9");
  // Nobody is named: the peer itself.
  CHECK(ask_behind(web, "PROXY UNKNOWN\r\n") == "200 127.0.0.1");
  CHECK(ask_behind(web, "PROXY UNKNOWN whatever it is\r\n") == "200 127.0.0.1");
  CHECK(ask_behind(web, v2(0x20, 0x00, "")) == "200 127.0.0.1");
  CHECK(ask_behind(web, v2(0x20, 0x11, v4_body(7))) == "200 127.0.0.1");
  CHECK(ask_behind(web, v2(0x21, 0x00, tlv(4, "padding"))) == "200 127.0.0.1");
  CHECK(begun(daemon, "web", "v1") == 4);
  CHECK(begun(daemon, "web", "v2") == 7);
  CHECK(begun(daemon, "web", "none") == 0);
  // For who is let in it is the client, too; and it stays one's for all requests of a connection.
  CHECK(ask_behind(web, v1(66)).starts_with("403"));
  HttpClient kept(web);
  kept.send(v1(7) + get("/") + get("/"));
  CHECK(answer_of(kept) == "200 203.0.113.7");
  CHECK(answer_of(kept) == "200 203.0.113.7");
  kept.send(get("/"));
  CHECK(answer_of(kept) == "200 203.0.113.7");
  // What a field says counts if the client whom the header names is a proxy, too.
  const std::string field = get("/", "X-Forwarded-For: 198.51.100.1\r\n");
  HttpClient client(web);
  client.send(v1(7) + field);
  CHECK(answer_of(client) == "200 203.0.113.7");
  HttpClient proxy(web);
  proxy.send("PROXY TCP4 127.0.0.1 192.0.2.1 12345 443\r\n" + field);
  CHECK(answer_of(proxy) == "200 198.51.100.1");
  CHECK(daemon.metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(daemon.stop() == 0);
  CHECK(daemon.process().output().find("203.0.113.8 - - [") != std::string::npos);
}

TEST_CASE("a PROXY header may come byte by byte, and what is behind it is the connection's",
          "[integration][daemon][proxy_protocol]") {
  Daemon daemon(listeners(GENERATE("any", "optional")));
  const std::string padded = v2(0x21, 0x11, v4_body(7) + tlv(4, std::string(700, 'p')));
  for (const std::string& header : {v1(7), v2(0x21, 0x11, v4_body(7)), padded}) {
    HttpClient web(daemon.port("web"));
    for (const char c : header + get("/")) REQUIRE(web.send({&c, 1}));
    CHECK(answer_of(web) == "200 203.0.113.7");
    HttpClient tcp(daemon.port("tcp"));
    for (const char c : header) REQUIRE(tcp.send({&c, 1}));
    REQUIRE(tcp.send("hello"));
    while (tcp.rest() != "hello") REQUIRE(tcp.more());
    // A body that comes with the head and the header, and one that is larger than any buffer on the way.
    HttpClient upload(daemon.port("web"));
    const std::string body(300'000, 'b');
    REQUIRE(upload.send(header + "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 300000\r\n\r\n" + body));
    const auto answer = upload.receive();
    REQUIRE(answer);
    CHECK((answer->body == body));
  }
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a PROXY header that is wrong closes the connection, counted by why",
          "[integration][daemon][proxy_protocol]") {
  Daemon daemon(listeners("any"));
  const std::vector<std::pair<std::string, std::string>> wrong = {
      {"signature", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"},
      {"signature", "PROXX TCP4 1.2.3.4 1.2.3.4 1 1\r\n"},
      {"malformed_line", "PROXY TCP4 203.0.113.7 192.0.2.1 12345 65536\r\n"},
      {"malformed_line", "PROXY TCP4 2001:db8::1 192.0.2.1 12345 443\r\n"},
      {"malformed_line", "PROXY TCP4 203.0.113.7 192.0.2.1 12345\n"},
      {"too_long", "PROXY UNKNOWN " + std::string(200, 'x') + "\r\n"},
      {"version", v2(0x31, 0x11, v4_body(7))},
      {"command", v2(0x22, 0x11, v4_body(7))},
      {"family", v2(0x21, 0x41, v4_body(7))},
      {"too_short", v2(0x21, 0x11, v4_body(7), 11)},
      {"too_long", v2(0x21, 0x11, v4_body(7), 65535)},
  };
  for (const auto& [reason, bytes] : wrong) {
    INFO(reason);
    for (const char* const listener : {"web", "tcp"}) {
      const double before = refused(daemon, listener, reason);
      HttpClient client(daemon.port(listener));
      client.send(bytes);
      CHECK(is_closed(client));
      CHECK(eventually([&, &why = reason] { return refused(daemon, listener, why) == before + 1; }));
    }
  }
  // One that says more than it has waits for the rest, which the client's end says will not come.
  HttpClient lies(daemon.port("web"));
  lies.send(v2(0x21, 0x11, v4_body(7), 600) + get("/"));
  lies.finish_sending();
  CHECK(is_closed(lies));
  CHECK(eventually([&] { return refused(daemon, "web", "ended") == 1; }));
  CHECK(daemon.wait_for_log("listener web: a connection of 127.0.0.1 was closed for its PROXY protocol header: "));
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections{listener=\"web\"}") == 0; }));
  CHECK(daemon.metric("fiberd_http_requests_total{listener=\"web\",route=\"/\",method=\"GET\",code=\"200\"}")
            .value_or(0) == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a version that is not asked for is refused", "[integration][daemon][proxy_protocol]") {
  const bool first = GENERATE(true, false);
  Daemon daemon(listeners(first ? "v1" : "v2"));
  const std::string one = v1(7);
  const std::string two = v2(0x21, 0x11, v4_body(7));
  CHECK(ask_behind(daemon.port("web"), first ? one : two) == "200 203.0.113.7");
  CHECK(ask_behind(daemon.port("web"), first ? two : one) == "nothing");
  CHECK(eventually([&] { return refused(daemon, "web", "other_version") == 1; }));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("PROXY headers that drip are bounded in time and hold no fiber", "[integration][daemon][proxy_protocol]") {
  static constexpr int kMany = 100;
  Daemon daemon(listeners("any", "{header: 2s}"));
  const auto fibers = [&] { return daemon.metric("fiberd_fibers{state=\"waiting\"}").value_or(0); };
  const double before = fibers();
  std::vector<std::unique_ptr<HttpClient>> all;
  for (int i = 0; i < kMany; ++i) {
    all.push_back(std::make_unique<HttpClient>(daemon.port("web")));
    all.back()->send(i % 2 == 0 ? std::string("PROXY TCP4 20") : kSignature);
  }
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections{listener=\"web\"}") == kMany; }));
  CHECK(fibers() < before + kMany / 2);
  for (const auto& client : all) CHECK(is_closed(*client));
  CHECK(refused(daemon, "web", "timeout") == kMany);
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections{listener=\"web\"}") == 0; }));
  CHECK(ask_behind(daemon.port("web"), v1(7)) == "200 203.0.113.7");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("who is no trusted proxy is never believed", "[integration][daemon][proxy_protocol]") {
  Daemon daemon(listeners("any"));
  CHECK(ask_from_elsewhere(daemon.port("web"), v1(7) + get("/")).empty());
  CHECK(ask_from_elsewhere(daemon.port("web"), v2(0x21, 0x11, v4_body(7)) + get("/")).empty());
  CHECK(ask_from_elsewhere(daemon.port("web"), get("/")).empty());
  CHECK(ask_from_elsewhere(daemon.port("tcp"), v1(7) + "hello").empty());
  CHECK(refused(daemon, "web", "untrusted") == 3);
  CHECK(refused(daemon, "tcp", "untrusted") == 1);
  CHECK(ask_behind(daemon.port("web"), v1(7)) == "200 203.0.113.7");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("where PROXY headers are optional, connections without one are served as they are",
          "[integration][daemon][proxy_protocol]") {
  Daemon daemon(listeners("optional"));
  const std::uint16_t web = daemon.port("web");
  CHECK(ask_behind(web, "") == "200 127.0.0.1");
  CHECK(ask_behind(web, v1(7)) == "200 203.0.113.7");
  CHECK(ask_behind(web, v2(0x21, 0x11, v4_body(7))) == "200 203.0.113.7");
  // A method that begins as a header does; an empty line, as the other version does.
  HttpClient like_one(web);
  for (const char c : std::string("PROPFIND / HTTP/1.1\r\nHost: a\r\n\r\n")) REQUIRE(like_one.send({&c, 1}));
  CHECK(answer_of(like_one).starts_with("501"));
  CHECK(ask_behind(web, "\r\n") == "200 127.0.0.1");
  HttpClient tcp(daemon.port("tcp"));
  tcp.send("PRO");
  tcp.finish_sending();
  while (tcp.more()) {
  }
  CHECK(tcp.rest() == "PRO");
  HttpClient broken(web);
  broken.send("PROXY TCP4 nonsense\r\n");
  CHECK(is_closed(broken));
  CHECK(refused(daemon, "web", "malformed_line") == 1);
  // Others are served, too, and a header of theirs is no header.
  CHECK(ask_from_elsewhere(web, get("/", "Connection: close\r\n")).ends_with("127.0.0.9"));
  CHECK(ask_from_elsewhere(web, v1(7) + get("/")).starts_with("HTTP/1.1 400"));
  CHECK(ask_from_elsewhere(daemon.port("tcp"), v1(7) + "hello") == v1(7) + "hello");
  CHECK(begun(daemon, "web", "none") == 3);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("limits count clients, and the proxy for none of them", "[integration][daemon][proxy_protocol]") {
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\ntrusted_proxies: [127.0.0.1]\nlisteners:\n"
      "  - {name: web, address: \"127.0.0.1:0\", proxy_protocol: any, http: {limits: {connections_per_address: 1}, "
      "routes: [{path: /, rate_limit: {rate: 1/h, burst: 1, key: address}, respond: {body: \"${client}\"}}]}}\n"
      "  - {name: tcp, address: \"127.0.0.1:0\", proxy_protocol: any, tcp: {echo: {}, rate_limit: {rate: 1/h, burst: "
      "1, key: address}}}\n");
  std::vector<std::unique_ptr<HttpClient>> open;
  const auto come = [&](const char* listener, const std::string& bytes) -> HttpClient& {
    open.push_back(std::make_unique<HttpClient>(daemon.port(listener)));
    open.back()->send(bytes);
    return *open.back();
  };
  CHECK(answer_of(come("web", v1(1) + get("/"))) == "200 203.0.113.1");
  CHECK(answer_of(come("web", v1(2) + get("/"))) == "200 203.0.113.2");
  CHECK(is_closed(come("web", v1(1) + get("/"))));
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"address_limit\"}") == 1);
  // The proxy's own, by name of nobody: as many as it likes.
  for (int i = 0; i < 3; ++i) CHECK(answer_of(come("web", v2(0x20, 0, "") + get("/"))) != "nothing");
  // A place is free again when its connection has gone.
  open.erase(open.begin());
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections{listener=\"web\"}") == 4; }));
  CHECK(answer_of(come("web", v1(1) + get("/"))).starts_with("429"));  // who has had his one request
  CHECK(come("tcp", v1(1) + "x").more());
  CHECK(come("tcp", v1(2) + "x").more());
  CHECK(is_closed(come("tcp", v1(1) + "x")));
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"tcp\",reason=\"rate_limit\"}") == 1);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a program's TCP handler, an aggregate and a Unix socket behind a proxy",
          "[integration][daemon][proxy_protocol]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/web.sock";
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\ntrusted_proxies: [127.0.0.1, \"unix:\"]\nlisteners:\n"
      "  - {name: who, address: \"127.0.0.1:0\", proxy_protocol: any, tcp: {handler: whoami}}\n"
      "  - {name: direct, address: \"127.0.0.1:0\", tcp: {handler: whoami}}\n"
      "  - {name: stats, address: \"127.0.0.1:0\", proxy_protocol: v2, aggregate: {flush_interval: 100ms}}\n"
      "  - {name: local, address: \"unix:" +
          path +
          "\", proxy_protocol: any, http: {limits: {connections_per_address: 5}, routes: [{path: /, respond: {body: "
          "\"${client}\"}}]}}\n",
      {.program = FIBERD_OWN_HANDLERS});
  const auto said = [](HttpClient& client) {
    while (client.more()) {
    }
    return std::string(client.rest());
  };
  HttpClient named(daemon.port("who"));
  named.send(v1(7));
  CHECK(said(named) == "203.0.113.7:12345");
  HttpClient six(daemon.port("who"));
  six.send(v2(0x21, 0x21, kV6Body));
  CHECK(said(six) == "[2001:db8::1]:12345");
  HttpClient local(daemon.port("who"));
  local.send(v2(0x20, 0, ""));
  CHECK(said(local).starts_with("127.0.0.1:"));
  HttpClient direct(daemon.port("direct"));
  CHECK(said(direct).starts_with("127.0.0.1:"));
  HttpClient stats(daemon.port("stats"));
  stats.send(v2(0x21, 0x11, v4_body(7)) + "clicks:5|g\n");
  CHECK(eventually([&] { return daemon.admin("/aggregate/stats/metrics").find("clicks 5") != std::string::npos; }));
  const fiberd::net::Endpoint to = *fiberd::net::Endpoint::parse("unix:" + path);
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  REQUIRE(::connect(fd, to.data(), to.size()) == 0);
  const std::string request = v1(7) + get("/", "Connection: close\r\n");
  REQUIRE(::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size()));
  std::string answer;
  char data[4096];
  for (ssize_t n = 0; (n = ::recv(fd, data, sizeof data, 0)) > 0;) answer.append(data, static_cast<std::size_t>(n));
  ::close(fd);
  CHECK(answer.ends_with("203.0.113.7"));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("reloads change what connections begin with, also for those whose header is under way",
          "[integration][daemon][proxy_protocol][reload]") {
  Daemon daemon(listeners("off"));
  const std::uint16_t web = daemon.port("web");
  const auto reload = [&](const std::string& yaml) {
    daemon.write_config(yaml);
    HttpClient client(daemon.port("admin"), 0, 30s);
    client.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    const auto answer = client.receive();
    REQUIRE(answer);
    INFO(answer->body);
    CHECK(answer->status == 200);
  };
  HttpClient kept(web);
  kept.send(get("/"));
  CHECK(answer_of(kept) == "200 127.0.0.1");
  reload(listeners("any"));
  CHECK(ask_behind(web, v1(7)) == "200 203.0.113.7");
  CHECK(ask_behind(web, "") == "nothing");
  kept.send(get("/"));
  CHECK(answer_of(kept) == "200 127.0.0.1");
  HttpClient waiting(web);
  waiting.send("PROXY TCP4 203.0.113.7 192");
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections{listener=\"web\"}") == 2; }));
  reload(listeners("off"));
  CHECK(ask_behind(web, "") == "200 127.0.0.1");
  CHECK(ask_behind(web, v1(7)).starts_with("400"));
  waiting.send(".0.2.1 12345 443\r\n" + get("/"));
  CHECK(answer_of(waiting) == "200 203.0.113.7");
  // One that waits when its listener goes has a moment, and no more.
  reload(listeners("any"));
  HttpClient late(web);
  late.send("PROXY ");
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections{listener=\"web\"}").value_or(0) >= 3; }));
  CHECK(daemon.stop() == 0);
  CHECK(is_closed(late));
}

TEST_CASE("curl's and HAProxy's headers", "[integration][daemon][proxy_protocol][tools]") {
  Daemon daemon(listeners("any"));
  const std::string to = "127.0.0.1:" + std::to_string(daemon.port("web"));
  const Finished curl = run({"curl", "-s", "--max-time", "10", "--haproxy-protocol", "http://" + to + "/"});
  CHECK(curl.code == 0);
  CHECK(curl.output == "127.0.0.1");
  CHECK(begun(daemon, "web", "v1") == 1);
  if (run({"sh", "-c", "command -v haproxy"}).code != 0) {
    WARN("haproxy is not installed: left out");
    return;
  }
  const TemporaryDirectory directory;
  const std::string one = "127.0.0.1:" + std::to_string(free_port());
  const std::string two = "127.0.0.1:" + std::to_string(free_port());
  const std::string conf =
      directory.write("haproxy.cfg",
                      "defaults\n  mode tcp\n  timeout connect 10s\n  timeout client 10s\n  timeout server 10s\n"
                      "listen one\n  bind " +
                          one + "\n  server s " + to + " send-proxy\nlisten two\n  bind " + two +
                          "\n  unique-id-format %ci\n  server s " + to +
                          " send-proxy-v2 proxy-v2-options unique-id,crc32c check check-send-proxy inter 100ms\n");
  Process haproxy({.arguments = {"haproxy", "-db", "-f", conf}});
  const auto through = [&](const std::string& address) {
    return run({"curl", "-s", "--max-time", "10", "--interface", "127.0.0.5", "http://" + address + "/"}).output;
  };
  const bool served = eventually([&] { return through(one) == "127.0.0.5"; });
  INFO(haproxy.errors());
  REQUIRE(served);
  CHECK(through(two) == "127.0.0.5");
  // Its health checks are LOCAL.
  CHECK(eventually([&] { return begun(daemon, "web", "v2") >= 3; }));
  CHECK(begun(daemon, "web", "v1") >= 2);
  CHECK(refused(daemon, "web", "malformed_line") == 0);
  haproxy.signal(SIGTERM);
  CHECK(haproxy.wait().has_value());
  CHECK(daemon.stop() == 0);
}
