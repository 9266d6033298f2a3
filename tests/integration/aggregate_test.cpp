// The aggregation service as a process: lines go in by TCP and UDP, pages and upstreams say what they add up to.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <map>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "core/base/random.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::string stats(const std::string& aggregate, const std::string& around = "") {
  return "admin: {address: \"127.0.0.1:0\"}\n" + around +
         "listeners:\n"
         "  - name: stats\n"
         "    address: \"127.0.0.1:0\"\n"
         "    aggregate: " +
         aggregate + "\n";
}

/// A blocking socket of the loopback that gives up after ten seconds.
class Socket {
 public:
  explicit Socket(int type) : fd_(::socket(AF_INET, type | SOCK_CLOEXEC, 0)) {
    const timeval patience{10, 0};
    (void)::setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    (void)::setsockopt(fd_, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  }
  explicit Socket(int type, std::uint16_t port) : Socket(type) {
    const sockaddr_in to = address(port);
    if (::connect(fd_, reinterpret_cast<const sockaddr*>(&to), sizeof to) != 0) throw std::runtime_error("connect");
  }
  static Socket adopt(int fd) {
    Socket s(SOCK_STREAM);
    ::close(s.fd_);
    s.fd_ = fd;
    const timeval patience{10, 0};
    (void)::setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    return s;
  }
  Socket(Socket&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket() { close(); }
  void close() {
    if (fd_ >= 0) ::close(std::exchange(fd_, -1));
  }
  /// On a free port, which it returns.
  std::uint16_t bind(bool listen) {
    sockaddr_in at = address(0);
    socklen_t size = sizeof at;
    if (::bind(fd_, reinterpret_cast<const sockaddr*>(&at), size) != 0) throw std::runtime_error("bind");
    if (listen && ::listen(fd_, 16) != 0) throw std::runtime_error("listen");
    (void)::getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
    return ntohs(at.sin_port);
  }
  [[nodiscard]] int accept() const { return ::accept4(fd_, nullptr, nullptr, SOCK_CLOEXEC); }
  bool send(std::string_view text) const {
    while (!text.empty()) {
      const ssize_t n = ::send(fd_, text.data(), text.size(), MSG_NOSIGNAL);
      if (n <= 0) return false;
      text.remove_prefix(static_cast<std::size_t>(n));
    }
    return true;
  }
  /// One read; empty at the end or after ten seconds.
  [[nodiscard]] std::string receive() const {
    std::string text(70'000, '\0');
    const ssize_t n = ::recv(fd_, text.data(), text.size(), 0);
    text.resize(n > 0 ? static_cast<std::size_t>(n) : 0);
    return text;
  }
  [[nodiscard]] bool readable(int milliseconds) const {
    pollfd p{fd_, POLLIN, 0};
    return ::poll(&p, 1, milliseconds) > 0;
  }

 private:
  static sockaddr_in address(std::uint16_t port) {
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(port);
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
  }
  int fd_;
};

/// Waits until the page holds `line` as a whole line.
bool page_holds(const Daemon& daemon, const std::string& line, const std::string& page = "/aggregate/metrics") {
  return eventually([&] { return ("\n" + daemon.admin(page)).find("\n" + line + "\n") != std::string::npos; });
}

double lines_taken(const Daemon& daemon) {
  double n = 0;
  for (const char* const type : {"counter", "gauge", "timer", "histogram", "distribution", "set"})
    n += daemon.metric("fiberd_aggregate_lines_total{listener=\"stats\",type=\"" + std::string(type) + "\"}")
             .value_or(0);
  return n;
}

double refused(const Daemon& daemon, const std::string& reason) {
  return daemon.metric("fiberd_aggregate_refused_total{listener=\"stats\",reason=\"" + reason + "\"}").value_or(-1);
}

double flushes(const Daemon& daemon, const std::string& upstream, const std::string& result) {
  return daemon
      .metric("fiberd_aggregate_flushes_total{listener=\"stats\",upstream=\"" + upstream + "\",result=\"" + result +
              "\"}")
      .value_or(-1);
}

/// Everything an upstream got, by line, how often.
void count_lines(const std::string& text, std::map<std::string, int>& lines) {
  std::istringstream in(text);
  for (std::string line; std::getline(in, line);) ++lines[line];
}

/// The sum of the values of a counter's lines.
double sum_of(const std::map<std::string, int>& lines, const std::string& name) {
  double sum = 0;
  for (const auto& [line, times] : lines)
    if (line.starts_with(name + ":")) sum += times * std::strtod(line.c_str() + name.size() + 1, nullptr);
  return sum;
}

}  // namespace

TEST_CASE("StatsD by TCP, split anywhere, and by UDP; Prometheus and JSON", "[integration][daemon][aggregate]") {
  Daemon daemon(stats("{flush_interval: 20ms}"));
  std::string text;
  for (int i = 0; i < 3'000; ++i)
    text += "orders.count:2|c|#shop:berlin,env:prod\nload:" + std::to_string(i) +
            "|g\nwait:" + std::to_string(1 + i % 100) + "|ms|@0.5\n";
  {
    const Socket tcp(SOCK_STREAM, daemon.port("stats"));
    fiberd::Random random(5);
    for (std::string_view rest = text; !rest.empty();) {
      const std::size_t n = std::min<std::size_t>(rest.size(), 1 + random.below(2'000));
      REQUIRE(tcp.send(rest.substr(0, n)));
      rest.remove_prefix(n);
    }
    REQUIRE(
        tcp.send("orders.count:1|c|#env:prod,shop:berlin"));  // the last line, without its end; tags another way round
  }
  const Socket udp(SOCK_DGRAM, daemon.port("stats"));
  for (int i = 0; i < 50; ++i) REQUIRE(udp.send("orders.count:1|c|#shop:berlin,env:prod\nvisits:1|c"));
  CHECK(page_holds(daemon, "orders_count_total{env=\"prod\",shop=\"berlin\"} 6051"));
  CHECK(page_holds(daemon, "visits_total 50"));
  const std::string page = daemon.admin("/aggregate/metrics");
  CHECK(page.find("# TYPE orders_count_total counter\n") != std::string::npos);
  CHECK(page.find("\nload 2999\n") != std::string::npos);
  CHECK(page.find("\nwait_count 6000\nvisits") == std::string::npos);
  CHECK(page.find("\nwait_count 6000\n") != std::string::npos);
  CHECK(page.find("\nwait_sum 303000\n") != std::string::npos);
  CHECK(page.find("wait{quantile=\"0.99\"} ") != std::string::npos);
  CHECK(daemon.admin("/aggregate/stats/metrics").find("\nvisits_total 50\n") != std::string::npos);
  const std::string json = daemon.admin("/aggregate/json");
  CHECK(json.find("{\"name\":\"orders.count\",\"type\":\"counter\",\"tags\":{\"env\":\"prod\",\"shop\":\"berlin\"},"
                  "\"total\":6051,") != std::string::npos);
  const TemporaryDirectory directory;
  const std::string file = directory.write("page", page);
  const Finished check = run({"bash", "-c", "promtool check metrics < \"$0\"", file});
  INFO(check.errors << check.output);
  CHECK(check.code == 0);
  CHECK((check.errors + check.output).empty());
  CHECK(lines_taken(daemon) == 9'000 + 1 + 100);
  CHECK(daemon.metric("fiberd_aggregate_datagrams_total{listener=\"stats\"}") == 50.0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("bad lines, too many series: refused and counted, the rest goes on", "[integration][daemon][aggregate]") {
  Daemon daemon(stats("{series: 3, line_size: 64, set_members: 2, flush_interval: 20ms}"));
  const Socket tcp(SOCK_STREAM, daemon.port("stats"));
  REQUIRE(tcp.send("one:1|c\ntwo:1|c\nthree:1|s\nthree:2|s\nthree:3|s\nfour:1|c\nfive:1|g\none:1|c\n"));
  REQUIRE(tcp.send("no type:1\nx\none:nan|c\none:1|c|@7\none:1|z\none:1|c|#\n" + std::string(500, 'l') + "\n"));
  REQUIRE(tcp.send(std::string(200'000, 'm')));  // a line that no buffer holds
  REQUIRE(tcp.send("\none:1|c\n"));
  CHECK(page_holds(daemon, "one_total 3"));
  CHECK(refused(daemon, "series") == 2);
  CHECK(refused(daemon, "set_members") == 1);
  CHECK(refused(daemon, "name") == 1);
  CHECK(refused(daemon, "value") == 2);
  CHECK(refused(daemon, "rate") == 1);
  CHECK(refused(daemon, "type") == 1);
  CHECK(refused(daemon, "tags") == 1);
  CHECK(refused(daemon, "length") == 2);
  CHECK(lines_taken(daemon) == 3 + 1 + 2);
  CHECK(daemon.metric("fiberd_aggregate_series{listener=\"stats\"}") == 3.0);
  CHECK(daemon.admin("/aggregate/metrics").find("four") == std::string::npos);
}

TEST_CASE("series expire", "[integration][daemon][aggregate]") {
  Daemon daemon(stats("{flush_interval: 20ms, expire: 60ms}"));
  const Socket udp(SOCK_DGRAM, daemon.port("stats"));
  REQUIRE(udp.send("gone:1|c\n"));
  CHECK(eventually([&] { return daemon.metric("fiberd_aggregate_series_expired_total{listener=\"stats\"}") == 1.0; }));
  CHECK(eventually([&] { return daemon.admin("/aggregate/metrics").empty(); }));
}

TEST_CASE("a StatsD upstream gets what came, by UDP and by TCP", "[integration][daemon][aggregate]") {
  const Socket udp_upstream = [] { return Socket(SOCK_DGRAM); }();
  Socket tcp_upstream(SOCK_STREAM);
  const std::uint16_t udp_port = const_cast<Socket&>(udp_upstream).bind(false);
  const std::uint16_t tcp_port = tcp_upstream.bind(true);
  const std::string by_udp = "127.0.0.1:" + std::to_string(udp_port);
  const std::string by_tcp = "tcp://127.0.0.1:" + std::to_string(tcp_port);
  Daemon daemon(stats("{flush_interval: 50ms, flush: [{statsd: \"" + by_udp + "\"}, {statsd: \"" + by_tcp + "\"}]}"));
  std::map<std::string, int> streamed;
  std::atomic<bool> end{false};
  std::thread reader([&] {
    while (!end) {
      if (!tcp_upstream.readable(50)) continue;
      const Socket one = Socket::adopt(tcp_upstream.accept());
      std::string all;
      for (std::string part = one.receive(); !part.empty(); part = one.receive()) all += part;
      count_lines(all, streamed);
    }
  });
  const Socket tcp(SOCK_STREAM, daemon.port("stats"));
  for (int i = 0; i < 500; ++i)
    REQUIRE(tcp.send("hits:1|c|#a:b\nmisses:0.5|c|@0.5\ncold:-4|g\ncold:-4|g\nwho:u" + std::to_string(i % 5) + "|s\n"));
  REQUIRE(eventually([&] { return lines_taken(daemon) == 2'500 - 0; }));
  std::map<std::string, int> received;
  CHECK(eventually([&] {
    while (udp_upstream.readable(0)) count_lines(udp_upstream.receive(), received);
    return sum_of(received, "hits") == 500 && sum_of(received, "misses") == 500;
  }));
  CHECK(daemon.stop() == 0);
  end = true;
  reader.join();
  CHECK(sum_of(streamed, "hits") == 500);
  CHECK(sum_of(streamed, "misses") == 500);
  for (const auto& lines : {received, streamed})
    for (const auto& [line, times] : lines) {
      const std::string_view l = line;
      const bool known = (l.starts_with("hits:") && l.ends_with("|c|#a:b")) ||
                         (l.starts_with("misses:") && l.ends_with("|c")) || l.starts_with("who:u") || l == "cold:0|g" ||
                         l.starts_with("cold:-");
      INFO(line);
      CHECK(known);
    }
}

TEST_CASE("one fiberd behind another has the same sums", "[integration][daemon][aggregate]") {
  Daemon far(stats("{flush_interval: 20ms}"));
  Daemon near(stats("{flush_interval: 20ms, flush: [{statsd: \"tcp://127.0.0.1:" + std::to_string(far.port("stats")) +
                    "\"}]}"));
  {
    const Socket tcp(SOCK_STREAM, near.port("stats"));
    for (int i = 0; i < 1'000; ++i)
      REQUIRE(tcp.send("hits:3|c|#a:b\nwait:" + std::to_string(10 + i % 5) + "|ms\nwait.more:1|ms|@0.1\n"));
  }
  CHECK(page_holds(far, "hits_total{a=\"b\"} 3000"));
  CHECK(page_holds(far, "wait_count 1000"));
  CHECK(page_holds(far, "wait_more_count 10000"));
  CHECK(near.stop() == 0);
  CHECK(far.admin("/aggregate/metrics").find("\nhits_total{a=\"b\"} 3000\n") != std::string::npos);
}

TEST_CASE("a Prometheus upstream is posted to, again after a failure; a rejection is final",
          "[integration][daemon][aggregate]") {
  Socket server(SOCK_STREAM);
  const std::uint16_t port = server.bind(true);
  const std::string url = "http://127.0.0.1:" + std::to_string(port) + "/metrics/job/x";
  Daemon daemon(stats("{flush_interval: 50ms, flush: [{prometheus: \"" + url + "?key=secret\"}]}"));
  const Socket udp(SOCK_DGRAM, daemon.port("stats"));
  REQUIRE(udp.send("posted:7|c|#a:b\n"));
  REQUIRE(page_holds(daemon, "posted_total{a=\"b\"} 7"));
  const auto serve = [&](const std::string& answer) {
    const Socket one = Socket::adopt(server.accept());
    std::string request = one.receive();
    const std::size_t head = request.find("\r\n\r\n");
    if (head == std::string::npos) return request;
    const std::size_t at = request.find("Content-Length: ");
    const std::size_t size = std::strtoul(request.c_str() + at + 16, nullptr, 10);
    while (request.size() < head + 4 + size) {
      const std::string more = one.receive();
      if (more.empty()) break;
      request += more;
    }
    (void)one.send(answer);
    return request;
  };
  static const std::string kEnd = "Content-Length: 0\r\nConnection: close\r\n\r\n";
  (void)serve("HTTP/1.1 503 Service Unavailable\r\n" + kEnd);
  (void)serve("not HTTP at all\r\n\r\n");
  (void)serve("");  // closed without an answer
  std::string request;
  for (int i = 0; i < 20 && request.find("posted_total") == std::string::npos; ++i)
    request = serve("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 202 Accepted\r\n" + kEnd);
  CHECK(request.starts_with("POST /metrics/job/x?key=secret HTTP/1.1\r\nHost: 127.0.0.1:" + std::to_string(port) +
                            "\r\n"));
  CHECK(request.find("\r\nContent-Type: text/plain; version=0.0.4") != std::string::npos);
  CHECK(request.find("\nposted_total{a=\"b\"} 7\n") != std::string::npos);
  CHECK(eventually([&] { return flushes(daemon, url, "delivered") >= 1; }));
  CHECK(daemon.metric("fiberd_aggregate_flush_errors_total{listener=\"stats\",upstream=\"" + url + "\"}") >= 3.0);
  CHECK(flushes(daemon, url, "rejected") == 0);
  (void)serve("HTTP/1.1 400 Bad Request\r\n" + kEnd);
  CHECK(eventually([&] { return flushes(daemon, url, "rejected") == 1; }));
  CHECK(daemon.log().find("secret") == std::string::npos);
  CHECK(daemon.admin("/metrics").find("secret") == std::string::npos);
  server.close();
  // States that were never delivered while nobody listened are superseded by newer ones.
  CHECK(eventually([&] { return flushes(daemon, url, "superseded") > 0; }));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("SIGTERM: what came is taken, flushed and sent on", "[integration][daemon][aggregate]") {
  Socket upstream(SOCK_STREAM);
  const std::string where = "tcp://127.0.0.1:" + std::to_string(upstream.bind(true));
  // The one flush is that of the stop.
  Daemon daemon(stats("{flush_interval: 1h, flush: [{statsd: \"" + where + "\"}]}"));
  std::map<std::string, int> lines;
  std::thread reader([&] {
    if (!upstream.readable(20'000)) return;
    const Socket one = Socket::adopt(upstream.accept());
    std::string all;
    for (std::string part = one.receive(); !part.empty(); part = one.receive()) all += part;
    count_lines(all, lines);
  });
  const Socket open(SOCK_STREAM, daemon.port("stats"));  // stays open
  const Socket udp(SOCK_DGRAM, daemon.port("stats"));
  for (int i = 0; i < 100; ++i) {
    CHECK(open.send("by.tcp:1|c\n"));
    CHECK(udp.send("by.udp:1|c"));
  }
  daemon.process().signal(SIGTERM);
  CHECK(daemon.process().wait() == 0);
  reader.join();
  CHECK(lines == std::map<std::string, int>{{"by.tcp:100|c", 1}, {"by.udp:100|c", 1}});
}

TEST_CASE("an upstream that is down: the stop does not wait for ever, and says what is lost",
          "[integration][daemon][aggregate]") {
  std::uint16_t nobody = 0;
  {
    Socket probe(SOCK_STREAM);
    nobody = probe.bind(false);
  }
  const std::string where = "tcp://127.0.0.1:" + std::to_string(nobody);
  Daemon daemon(stats("{flush_interval: 20ms, flush: [{statsd: \"" + where + "\"}]}", "shutdown: {timeout: 2s}\n"));
  const Socket udp(SOCK_DGRAM, daemon.port("stats"));
  // Until the queue is full: each interval has something to say.
  CHECK(eventually([&] {
    (void)udp.send("a:1|c");
    return flushes(daemon, where, "dropped") > 0;
  }));
  CHECK(daemon.wait_for_log("aggregate: " + where + ": Connection refused"));
  const auto begin = std::chrono::steady_clock::now();
  CHECK(daemon.stop() == 0);
  CHECK(std::chrono::steady_clock::now() - begin < 10s);
  const std::string log = daemon.log();
  CHECK(log.find("an interval was not sent before the end") != std::string::npos);
  // It has failed for longer than a second, and many times; that is said once a minute.
  const std::size_t said = log.find(where + ": Connection refused");
  REQUIRE(said != std::string::npos);
  CHECK(log.find(where + ": Connection refused", said + 1) == std::string::npos);
}

TEST_CASE("TCP only, UDP only, several listeners, ports that are taken", "[integration][daemon][aggregate]") {
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\n"
      "listeners:\n"
      "  - {name: t, address: \"127.0.0.1:0\", aggregate: {protocol: tcp, flush_interval: 20ms}}\n"
      "  - {name: u, address: \"127.0.0.1:0\", aggregate: {protocol: udp, flush_interval: 20ms}}\n");
  const Socket tcp(SOCK_STREAM, daemon.port("t"));
  CHECK(tcp.send("x:1|c\n"));
  CHECK(page_holds(daemon, "x_total 1", "/aggregate/t/metrics"));
  const Socket udp(SOCK_DGRAM, daemon.port("u"));
  CHECK(udp.send("y:1|c\n"));
  CHECK(page_holds(daemon, "y_total 1", "/aggregate/u/metrics"));
  CHECK(daemon.admin("/aggregate/u/json").find("\"name\":\"y\"") != std::string::npos);
  // Whose? The answer says which there are.
  const std::string there = "/aggregate/t/metrics\n/aggregate/t/json\n/aggregate/u/metrics\n/aggregate/u/json\n";
  CHECK(daemon.admin("/aggregate") == there);
  CHECK(daemon.admin("/").find(there) != std::string::npos);
  HttpClient client(daemon.port("admin"));
  for (const char* page : {"/aggregate/metrics", "/aggregate/json", "/aggregate/v/metrics"}) {
    const auto answer = client.ask(get_admin(page));
    REQUIRE(answer);
    CHECK(answer->status == 404);
    CHECK(answer->body == "no such page; there are:\n" + there);
  }
  CHECK_THROWS(Socket(SOCK_STREAM, daemon.port("u")));
  // Another's.
  const TemporaryDirectory directory;
  const std::string file =
      directory.write("taken.yaml", "admin: {address: \"off\"}\nlisteners:\n  - {name: s, address: \"127.0.0.1:" +
                                        std::to_string(daemon.port("u")) + "\", aggregate: {protocol: udp}}\n");
  const Finished taken = run({FIBERD_BINARY, "run", "-c", file});
  CHECK(taken.code == 3);
  CHECK(taken.errors.find("(UDP)") != std::string::npos);
  CHECK(daemon.stop() == 0);
}
