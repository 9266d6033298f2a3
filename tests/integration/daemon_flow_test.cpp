// rate_limit, concurrency and worker_pool of the real daemon. A handler is kept busy by a body that does not come: the
// echo route has a place or a worker then, and waits.
#include <arpa/inet.h>
#include <poll.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <memory>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::string limited_web(const std::string& limits, const std::string& listener_limits = {}) {
  return "admin: {address: \"127.0.0.1:0\"}\n"
         "shutdown: {timeout: 1s}\n"
         "listeners:\n"
         "  - name: web\n"
         "    address: \"127.0.0.1:0\"\n"
         "    http:\n" +
         (listener_limits.empty() ? std::string() : "      " + listener_limits + "\n") +
         "      routes:\n"
         "        - {path: /, respond: {body: hello}}\n"
         "        - {path: /limited, echo: {}, " +
         limits + "}\n";
}

std::string limited_post(std::string_view body_that_comes = {}, std::string_view fields = {}) {
  return "POST /limited HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + std::string(fields) + "\r\n" +
         std::string(body_that_comes);
}

std::string refused(std::string_view limit, std::string_view reason, bool dry_run = false,
                    std::string_view route = "/limited") {
  return "fiberd_admission_refused_total{listener=\"web\",route=\"" + std::string(route) + "\",limit=\"" +
         std::string(limit) + "\",reason=\"" + std::string(reason) + "\",dry_run=\"" + (dry_run ? "true" : "false") +
         "\"}";
}

std::string gauge(std::string_view name, std::string_view limit) {
  return "fiberd_admission_" + std::string(name) + "{listener=\"web\",route=\"/limited\",limit=\"" +
         std::string(limit) + "\"}";
}

/// The status of a GET from that address; 0: closed without an answer.
unsigned status_from(std::uint32_t from, std::uint16_t port, std::string_view request) {
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in source{};
  source.sin_family = AF_INET;
  source.sin_addr.s_addr = htonl(from);
  sockaddr_in to = source;
  to.sin_addr.s_addr = htonl(0x7f000001);
  to.sin_port = htons(port);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&source), sizeof source) != 0 ||
      ::connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0)
    throw std::system_error(errno, std::system_category());
  (void)::send(fd, request.data(), request.size(), MSG_NOSIGNAL);
  pollfd p{fd, POLLIN, 0};
  (void)::poll(&p, 1, 10'000);
  char data[1024];
  const ssize_t n = ::recv(fd, data, sizeof data, 0);
  ::close(fd);
  return n > 12 ? static_cast<unsigned>(std::strtoul(data + 9, nullptr, 10)) : 0;
}

/// Whether a byte comes within a time that is long for a server that has nothing to wait for.
bool silent(const HttpClient& client) {
  pollfd p{client.fd(), POLLIN, 0};
  return ::poll(&p, 1, 150) == 0;
}

}  // namespace

TEST_CASE("rate_limit: 429 with Retry-After before the body is asked for; the connection goes on", "[flow]") {
  Daemon daemon(limited_web("rate_limit: {rate: 2/m, burst: 2}"));
  HttpClient client(daemon.port("web"));
  CHECK(client.ask(limited_post("12345"))->status == 200);
  CHECK(client.ask(limited_post("12345"))->status == 200);
  const auto third = client.ask(limited_post("12345", "Accept: application/json\r\n"));
  REQUIRE(third);
  CHECK(third->status == 429);
  const int after = std::atoi(third->field("Retry-After").c_str());
  CHECK(after >= 25);
  CHECK(after <= 30);
  CHECK(third->field("Content-Type") == "application/problem+json");
  CHECK(third->body.find("429") != std::string::npos);
  CHECK(client.ask(get("/"))->status == 200);  // other routes, on the same connection
  // The body is not wanted: no 100 Continue.
  const auto expecting = client.ask(limited_post({}, "Expect: 100-continue\r\n"));
  CHECK(expecting->status == 429);
  CHECK(client.interim() == 0);
  CHECK(daemon.metric(refused("rate_limit", "rate_limited")) == 2);
  CHECK(daemon.metric("fiberd_http_requests_total{listener=\"web\",route=\"/limited\",method=\"POST\",code=\"429\"}") ==
        2);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("rate_limit by address and by header; its status; evictions are counted", "[flow]") {
  Daemon daemon(limited_web("rate_limit: {rate: 1/h, burst: 1, key: address, status: 503}"));
  const std::string request = "GET /limited HTTP/1.1\r\nHost: a\r\n\r\n";
  CHECK(status_from(0x7f000001, daemon.port("web"), request) == 200);
  CHECK(status_from(0x7f000002, daemon.port("web"), request) == 200);
  CHECK(status_from(0x7f000001, daemon.port("web"), request) == 503);
  CHECK(status_from(0x7f000002, daemon.port("web"), request) == 503);
  CHECK(daemon.metric("fiberd_admission_keys{listener=\"web\",route=\"/limited\"}") == 2);

  Daemon keyed(limited_web("rate_limit: {rate: 1/h, burst: 1, key: \"header:X-Api-Key\", keys: 2}"));
  HttpClient client(keyed.port("web"));
  const auto status = [&](std::string_view key) {
    return client.ask(get("/limited", key.empty() ? "" : "X-Api-Key: " + std::string(key) + "\r\n"))->status;
  };
  CHECK(status("a") == 200);
  CHECK(status("a") == 429);
  CHECK(status("") == 200);  // by address
  CHECK(status("") == 429);
  CHECK(status("b") == 429);  // no bucket is left, and all owe: it inherits
  CHECK(keyed.metric("fiberd_admission_keys_evicted_total{listener=\"web\",route=\"/limited\",owing=\"true\"}") == 1);
}

TEST_CASE("a listener's limit is for all its requests together, also those without a route", "[flow]") {
  Daemon daemon(limited_web("rate_limit: {rate: 1/h, burst: 2}", "rate_limit: {rate: 1/h, burst: 4}"));
  HttpClient client(daemon.port("web"));
  CHECK(client.ask(get("/"))->status == 200);
  CHECK(client.ask(get("/nowhere"))->status == 404);
  CHECK(client.ask(get("/limited"))->status == 200);
  CHECK(client.ask(get("/limited"))->status == 200);
  CHECK(client.ask(get("/limited"))->status == 429);
  CHECK(client.ask(get("/"))->status == 429);
  CHECK(client.ask(get("/nowhere"))->status == 429);
  CHECK(daemon.metric(refused("rate_limit", "rate_limited", false, "all")) == 3);
  CHECK(daemon.metric(refused("rate_limit", "rate_limited")) == 0);
}

TEST_CASE("concurrency: places, a queue, 503 with Retry-After", "[flow]") {
  Daemon daemon(limited_web("concurrency: {limit: 1, queue: 1, max_wait: 20s}"));
  HttpClient first(daemon.port("web"));
  HttpClient second(daemon.port("web"));
  HttpClient third(daemon.port("web"));
  first.send(limited_post());
  REQUIRE(eventually([&] { return daemon.metric(gauge("in_flight", "concurrency")) == 1; }));
  // The answer in front of the one that must wait is sent.
  second.send(get("/") + limited_post("abcde"));
  CHECK(second.receive()->body == "hello");
  REQUIRE(eventually([&] { return daemon.metric(gauge("queued", "concurrency")) == 1; }));
  CHECK(silent(second));
  const auto full = third.ask(limited_post("xxxxx"));
  CHECK(full->status == 503);
  CHECK(full->field("Retry-After") == "1");
  CHECK(third.ask(get("/"))->status == 200);
  first.send("12345");
  CHECK(first.receive()->body == "12345");
  CHECK(second.receive()->body == "abcde");
  CHECK(daemon.metric(refused("concurrency", "queue_full")) == 1);
  CHECK(eventually([&] { return daemon.metric(gauge("in_flight", "concurrency")) == 0; }));
  CHECK(daemon.metric(
            "fiberd_admission_wait_seconds_count{listener=\"web\",route=\"/limited\",limit=\"concurrency\"}") == 1);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("concurrency: whoever has waited for max_wait is refused, and the important go first", "[flow]") {
  Daemon daemon(limited_web("concurrency: {limit: 1, queue: 5, max_wait: 300ms, priority: \"header:X-Priority\"}"));
  HttpClient first(daemon.port("web"));
  HttpClient late(daemon.port("web"));
  first.send(limited_post());
  REQUIRE(eventually([&] { return daemon.metric(gauge("in_flight", "concurrency")) == 1; }));
  CHECK(late.ask(limited_post("xxxxx"))->status == 503);
  CHECK(daemon.metric(refused("concurrency", "queue_timeout")) == 1);
  first.send("12345");
  CHECK(first.receive()->status == 200);

  Daemon patient(limited_web("concurrency: {limit: 1, queue: 5, max_wait: 20s, priority: \"header:X-Priority\"}"));
  HttpClient holder(patient.port("web"));
  HttpClient low(patient.port("web"));
  HttpClient high(patient.port("web"));
  holder.send(limited_post());
  REQUIRE(eventually([&] { return patient.metric(gauge("in_flight", "concurrency")) == 1; }));
  low.send(limited_post({}, "X-Priority: low\r\n"));
  REQUIRE(eventually([&] { return patient.metric(gauge("queued", "concurrency")) == 1; }));
  high.send(limited_post({}, "X-Priority: high\r\n"));
  REQUIRE(eventually([&] { return patient.metric(gauge("queued", "concurrency")) == 2; }));
  holder.send("12345");
  CHECK(holder.receive()->status == 200);
  // Both bodies are there; only the one that has the place is answered while the other's is not.
  low.send("lowlo");
  CHECK(silent(low));
  high.send("highh");
  CHECK(high.receive()->body == "highh");
  CHECK(low.receive()->body == "lowlo");
}

TEST_CASE("worker_pool: handlers run at most so many at once, others queue", "[flow]") {
  Daemon daemon(limited_web("worker_pool: {workers: 2, queue: 1, max_wait: 20s}"));
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 3; ++i) {
    clients.push_back(std::make_unique<HttpClient>(daemon.port("web")));
    clients.back()->send(limited_post());
    REQUIRE(eventually([&] {
      return daemon.metric(gauge("in_flight", "worker_pool")).value_or(0) +
                 daemon.metric(gauge("queued", "worker_pool")).value_or(0) ==
             i + 1;
    }));
  }
  CHECK(daemon.metric(gauge("in_flight", "worker_pool")) == 2);
  HttpClient more(daemon.port("web"));
  const auto full = more.ask(limited_post("xxxxx"));
  CHECK(full->status == 503);
  CHECK(full->field("Retry-After") == "1");
  CHECK(daemon.metric(refused("worker_pool", "queue_full")) == 1);
  for (auto& client : clients) client->send("12345");
  for (auto& client : clients) CHECK(client->receive()->body == "12345");
  // The same connections again.
  for (int round = 0; round < 20; ++round)
    for (auto& client : clients) CHECK(client->ask(limited_post("12345"))->body == "12345");
  CHECK(daemon.metric("fiberd_bugs_total") == 0);
  CHECK(daemon.stop() == 0);
}

namespace {

/// From one page: between two of them fibers change their states.
double fibers_now(const Daemon& daemon) {
  const std::string page = daemon.admin("/metrics");
  double sum = 0;
  for (const char* state : {"runnable", "running", "waiting"}) {
    const std::string sample = "fiberd_fibers{state=\"" + std::string(state) + "\"} ";
    const std::size_t at = page.find(sample);
    if (at == std::string::npos) return 1e9;
    sum += std::strtod(page.c_str() + at + sample.size(), nullptr);
  }
  return sum;
}

/// Of the daemon. Those that serve the pages come and go: the least of several looks.
double fibers(const Daemon& daemon) {
  double least = 1e9;
  for (int i = 0; i < 20; ++i) least = std::min(least, fibers_now(daemon));
  return least;
}

/// Three handlers at once, each on a worker of its own.
void use_three_workers(Daemon& daemon, std::vector<std::unique_ptr<HttpClient>>& clients) {
  for (auto& client : clients) client->send(limited_post());
  REQUIRE(eventually([&] { return daemon.metric(gauge("in_flight", "worker_pool")) == 3; }));
  for (auto& client : clients) client->send("12345");
  for (auto& client : clients) CHECK(client->receive()->body == "12345");
  REQUIRE(eventually([&] { return daemon.metric(gauge("in_flight", "worker_pool")) == 0; }));
}

}  // namespace

TEST_CASE("worker_pool: workers beyond least end when they are idle, the others stay", "[flow]") {
  for (const int least : {0, 3}) {
    INFO("least " << least);
    Daemon daemon(limited_web("worker_pool: {workers: 3, idle: 5ms, least: " + std::to_string(least) + "}"));
    std::vector<std::unique_ptr<HttpClient>> clients;
    for (int i = 0; i < 3; ++i) {
      clients.push_back(std::make_unique<HttpClient>(daemon.port("web")));
      CHECK(clients.back()->ask(get("/"))->status == 200);
    }
    const double before = fibers(daemon);
    use_three_workers(daemon, clients);
    CHECK(eventually([&] { return fibers(daemon) == before + least; }, 5s));
    // And so it is many times `idle` later.
    const auto later = std::chrono::steady_clock::now() + 50ms;
    while (std::chrono::steady_clock::now() < later) (void)fibers_now(daemon);
    CHECK(fibers(daemon) == before + least);
    CHECK(daemon.stop() == 0);
  }
}

TEST_CASE("concurrency.adaptive: the limit grows while it is used and answers take no longer", "[flow]") {
  Daemon daemon(limited_web("concurrency: {limit: 1, adaptive: {min: 1, max: 50}}"));
  HttpClient client(daemon.port("web"));
  CHECK(daemon.metric(gauge("limit", "concurrency")) == 1);
  // One at a time uses it up, for two windows of 100 ms: each adds 0.8, or little less if the machine was slow just
  // now.
  const auto until = std::chrono::steady_clock::now() + 10s;
  std::optional<double> limit = 1;
  while (limit == 1 && std::chrono::steady_clock::now() < until) {
    for (int i = 0; i < 10; ++i) REQUIRE(client.ask(limited_post("12345"))->status == 200);
    limit = daemon.metric(gauge("limit", "concurrency"));
  }
  CHECK(limit == 2);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("concurrency.codel: a queue that stands is thinned out, one at its end is not", "[flow]") {
  Daemon daemon(limited_web("concurrency: {limit: 1, queue: 10, max_wait: 20s, codel: {target: 1ms, interval: 1ms}}"));
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<HttpClient>(daemon.port("web")));
    clients.back()->send(limited_post());
    REQUIRE(eventually([&] { return daemon.metric(gauge("queued", "concurrency")) == i; }));
  }
  // Whoever has the place keeps it for longer than both times.
  int served = 0;
  int thinned = 0;
  for (auto& client : clients) {
    const auto until = std::chrono::steady_clock::now() + 5ms;
    do (void)daemon.metric(gauge("queued", "concurrency"));
    while (std::chrono::steady_clock::now() < until);
    client->send("12345");
    const auto answer = client->receive();
    REQUIRE(answer);
    if (answer->status == 200) ++served;
    if (answer->status == 503) ++thinned;
  }
  CHECK(served + thinned == 6);
  CHECK(thinned >= 1);
  CHECK(served >= 3);  // the first, the one behind it that began the interval, and the last
  CHECK(daemon.metric(refused("concurrency", "queue_overloaded")) == thinned);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a client that goes away gives up its place in the queue", "[flow]") {
  for (const char* limits :
       {"concurrency: {limit: 1, queue: 1, max_wait: 50s}", "worker_pool: {workers: 1, queue: 1, max_wait: 50s}"}) {
    const std::string limit = std::string(limits).substr(0, std::string(limits).find(':'));
    Daemon daemon(limited_web(limits));
    HttpClient first(daemon.port("web"));
    auto second = std::make_unique<HttpClient>(daemon.port("web"));
    first.send(limited_post());
    REQUIRE(eventually([&] { return daemon.metric(gauge("in_flight", limit)) == 1; }));
    second->send("GET /limited HTTP/1.1\r\nHost: a\r\n\r\n");
    REQUIRE(eventually([&] { return daemon.metric(gauge("queued", limit)) == 1; }));
    second.reset();
    CHECK(eventually([&] { return daemon.metric(gauge("queued", limit)) == 0; }));
    CHECK(daemon.metric(refused(limit, "canceled")) == 1);
    first.send("12345");
    CHECK(first.receive()->body == "12345");
    CHECK(daemon.stop() == 0);
  }
}

TEST_CASE("dry_run refuses nobody and counts", "[flow]") {
  Daemon daemon(
      limited_web("rate_limit: {rate: 1/h, burst: 1, dry_run: true}, concurrency: {limit: 1, queue: 1, dry_run: true}, "
                  "worker_pool: {workers: 1, queue: 1, dry_run: true}"));
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 4; ++i) {
    clients.push_back(std::make_unique<HttpClient>(daemon.port("web")));
    clients.back()->send(limited_post());
    REQUIRE(eventually([&] { return daemon.metric(gauge("in_flight", "concurrency")) == i + 1; }));
  }
  for (auto& client : clients) client->send("12345");
  for (auto& client : clients) CHECK(client->receive()->body == "12345");
  CHECK(daemon.metric(refused("rate_limit", "rate_limited", true)) == 3);
  CHECK(daemon.metric(refused("concurrency", "queue_full", true)) == 2);
  CHECK(daemon.metric(refused("worker_pool", "queue_full", true)) == 2);
  CHECK_FALSE(daemon.metric(refused("rate_limit", "rate_limited")).has_value());
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a stop does not wait for those who wait", "[flow]") {
  for (const char* limits :
       {"concurrency: {limit: 1, queue: 5, max_wait: 50s}", "worker_pool: {workers: 1, queue: 5, max_wait: 50s}"}) {
    Daemon daemon(limited_web(limits));
    const std::string limit = std::string(limits).substr(0, std::string(limits).find(':'));
    HttpClient first(daemon.port("web"));
    HttpClient second(daemon.port("web"));
    first.send(limited_post());
    REQUIRE(eventually([&] { return daemon.metric(gauge("in_flight", limit)) == 1; }));
    second.send(limited_post("12345"));
    REQUIRE(eventually([&] { return daemon.metric(gauge("queued", limit)) == 1; }));
    CHECK(daemon.stop(10s) == 0);  // shutdown.timeout is 1 s
  }
}

namespace {

std::string limited_tcp(const std::string& limits) {
  return "admin: {address: \"127.0.0.1:0\"}\n"
         "shutdown: {timeout: 1s}\n"
         "listeners:\n"
         "  - {name: web, address: \"127.0.0.1:0\", tcp: {echo: {}, " +
         limits + "}}\n";
}

bool echoes_one_more(HttpClient& client) {
  const std::size_t before = client.rest().size();
  return client.send("x") && client.more() && client.rest().size() == before + 1;
}

}  // namespace

TEST_CASE("a TCP listener's rate_limit closes connections in the poller, before a fiber exists", "[flow]") {
  Daemon daemon(limited_tcp("rate_limit: {rate: 1/h, burst: 2, key: address}"));
  HttpClient first(daemon.port("web"));
  HttpClient second(daemon.port("web"));
  CHECK(echoes_one_more(first));
  CHECK(echoes_one_more(second));
  const double fibers = daemon.metric("fiberd_fibers_created_total").value_or(0);
  for (int i = 0; i < 20; ++i) {
    HttpClient third(daemon.port("web"));
    CHECK(third.wait_end());
  }
  CHECK(status_from(0x7f000002, daemon.port("web"), "HTTP/1.1 299 x") == 299);  // another address has its own
  CHECK(daemon.metric(refused("rate_limit", "rate_limited", false, "all")) == 20);
  CHECK(daemon.metric("fiberd_listener_refused_total{listener=\"web\",reason=\"rate_limit\"}") == 20);
  CHECK(daemon.metric("fiberd_listener_accepted_total{listener=\"web\"}") == 3);
  // Two scrapes, one session.
  CHECK(daemon.metric("fiberd_fibers_created_total").value_or(1e9) - fibers < 15);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a TCP listener's concurrency and worker_pool: some are served, some wait, the rest is closed", "[flow]") {
  for (const char* limits :
       {"concurrency: {limit: 1, queue: 1, max_wait: 20s}", "worker_pool: {workers: 1, queue: 1, max_wait: 20s}"}) {
    const std::string limit = std::string(limits).substr(0, std::string(limits).find(':'));
    Daemon daemon(limited_tcp(limits));
    const auto value = [&](std::string_view name) {
      return daemon.metric("fiberd_admission_" + std::string(name) + "{listener=\"web\",route=\"all\",limit=\"" +
                           limit + "\"}");
    };
    auto first = std::make_unique<HttpClient>(daemon.port("web"));
    CHECK(echoes_one_more(*first));
    HttpClient second(daemon.port("web"));
    second.send("y");
    REQUIRE(eventually([&] { return value("queued") == 1; }));
    CHECK(silent(second));
    HttpClient third(daemon.port("web"));
    CHECK(third.wait_end());
    CHECK(daemon.metric(refused(limit, "queue_full", false, "all")) == 1);
    first.reset();
    CHECK(second.more());
    CHECK(second.rest() == "y");
    CHECK(value("in_flight") == 1);
    HttpClient waits(daemon.port("web"));
    REQUIRE(eventually([&] { return value("queued") == 1; }));
    CHECK(daemon.stop(10s) == 0);
  }
}

TEST_CASE("a TCP listener's limits in dry run", "[flow]") {
  Daemon daemon(
      limited_tcp("rate_limit: {rate: 1/h, burst: 1, dry_run: true}, concurrency: {limit: 1, dry_run: true}"));
  HttpClient first(daemon.port("web"));
  HttpClient second(daemon.port("web"));
  CHECK(echoes_one_more(first));
  CHECK(echoes_one_more(second));
  CHECK(daemon.metric(refused("rate_limit", "rate_limited", true, "all")) == 1);
  CHECK(daemon.metric(refused("concurrency", "concurrency_limited", true, "all")) == 1);
  CHECK(daemon.stop() == 0);
}
