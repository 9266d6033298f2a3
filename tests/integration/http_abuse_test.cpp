// Clients that would have the server wait for ever, and connections that shall not live for ever.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <set>
#include <string>
#include <thread>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

Result<void> collect(http::Exchange& ex) {
  std::size_t size = 0;
  for (;;) {
    const Result<std::string_view> piece = ex.read_body();
    if (!piece) return fail(piece.error());
    if (piece->empty()) return ex.respond(200, "text/plain", std::to_string(size));
    size += piece->size();
  }
}

/// The value of a sample in Prometheus's text form, 0 when it is not there.
double sample(const Daemon& daemon, const std::string& line) {
  HttpClient admin(daemon.port("admin"));
  const auto answer = admin.ask(get_admin("/metrics"));
  if (!answer) return -1;
  const std::size_t at = answer->body.find("\n" + line + " ");
  return at == std::string::npos ? 0 : std::stod(answer->body.substr(at + line.size() + 2));
}

}  // namespace

TEST_CASE("a body that drips is ended with 408, however regular its bytes", "[integration][abuse]") {
  http::ServerOptions options;
  options.timeouts.grace = 200ms;
  options.body_rate = 1000;
  HttpServer server({{.spec = {.path = "/"}, .handler = handler(collect)}}, std::move(options));
  HttpClient c(server.port());
  c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n");
  std::atomic<bool> answered{false};
  std::thread drip([&] {
    for (int i = 0; i < 1000 && !answered && c.send("x"); ++i) std::this_thread::sleep_for(10ms);
  });
  const auto answer = c.receive();
  answered = true;
  drip.join();
  REQUIRE(answer.has_value());
  CHECK(answer->status == 408);
  CHECK(answer->field("Connection") == "close");
}

TEST_CASE("what the handler dawdles is not the client's fault", "[integration][abuse]") {
  http::ServerOptions options;
  options.timeouts.grace = 50ms;
  options.body_rate = 1'000'000;
  options.write_rate = 1'000'000;
  HttpServer server({{.spec = {.path = "/"}, .handler = handler([](http::Exchange& ex) {
                                               (void)runtime::sleep_for(300ms);
                                               return collect(ex);
                                             })}},
                    std::move(options));
  HttpClient c(server.port());
  const std::string head = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n";
  const auto answer = c.ask(head + std::string(50000, 'x'));
  REQUIRE(answer.has_value());
  CHECK(answer->status == 200);
  CHECK(answer->body == "50000");
}

TEST_CASE("an answer that is read in drops is cut; one that is read at a fair pace is not", "[integration][abuse]") {
  http::ServerOptions options;
  options.timeouts.grace = 300ms;
  options.write_rate = 4 << 20;
  const std::string big(24 << 20, 'x');
  HttpServer server({{.spec = {.path = "/"},
                      .handler = handler([&](http::Exchange& ex) { return ex.respond(200, "text/plain", big); })}},
                    std::move(options));
  HttpClient fast(server.port());
  const auto whole = fast.ask(get("/"));
  REQUIRE(whole.has_value());
  CHECK(whole->body.size() == big.size());

  HttpClient slow(server.port(), 4096);
  slow.send(get("/"));
  const auto begin = std::chrono::steady_clock::now();
  bool more = true;
  for (int i = 0; i < 2000 && more; ++i) {
    more = slow.more();
    std::this_thread::sleep_for(5ms);
  }
  CHECK_FALSE(more);
  CHECK(slow.rest().size() < big.size());
  CHECK(std::chrono::steady_clock::now() - begin < 9s);
}

TEST_CASE("the rates are configured and counted", "[integration][abuse][daemon]") {
  const Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\n"
      "listeners:\n"
      "  - name: web\n"
      "    address: \"127.0.0.1:0\"\n"
      "    http:\n"
      "      timeouts: {grace: 100ms}\n"
      "      limits: {body_rate: 10KiB, write_rate: 10KiB}\n"
      "      hosts: [example.org]\n"
      "      routes: [{path: /echo, echo: {}}]\n");
  HttpClient c(daemon.port("web"));
  c.send("POST /echo HTTP/1.1\r\nHost: example.org\r\nContent-Length: 100000\r\n\r\nx");
  while (c.more()) {
  }
  CHECK(c.ended());
  CHECK(sample(daemon, "fiberd_http_timeouts_total{listener=\"web\",kind=\"body_rate\"}") == 1);
  HttpClient d(daemon.port("web"));
  CHECK(d.ask("GET /echo HTTP/1.1\r\nHost: example.com\r\n\r\n")->status == 421);
  CHECK(d.ask("GET /none HTTP/1.1\r\nHost: Example.org:8080\r\n\r\n")->status == 404);  // the connection lives on
  CHECK(sample(daemon, "fiberd_http_refused_total{listener=\"web\",reason=\"misdirected\"}") == 1);
}

TEST_CASE("connections retire by age and by requests, not all at once, with an answer", "[integration][abuse]") {
  http::ServerOptions options;
  options.requests = 100;
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}}, std::move(options));
  std::set<int> lives;
  for (int i = 0; i < 20; ++i) {
    HttpClient c(server.port());
    int served = 0;
    bool closed = false;
    for (; served < 200 && !closed; ++served) {
      const auto a = c.ask(get("/"));
      REQUIRE(a.has_value());
      closed = a->field("Connection") == "close";
    }
    CHECK(c.wait_end());
    CHECK((served >= 90 && served <= 110));
    lives.insert(served);
  }
  CHECK(lives.size() > 3);
  (void)server.stop(5s);
}

TEST_CASE("a connection's age ends it with an answer", "[integration][abuse]") {
  http::ServerOptions options;
  options.timeouts.age = 100ms;
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}}, std::move(options));
  HttpClient c(server.port());
  bool closed = false;
  int served = 0;
  for (; served < 100'000 && !closed; ++served) {
    const auto a = c.ask(get("/"));
    REQUIRE(a.has_value());
    closed = a->field("Connection") == "close";
  }
  CHECK(closed);
  CHECK(served > 1);
  CHECK(c.wait_end());
}

TEST_CASE("a pipeline lets others have their turn", "[integration][abuse]") {
  std::atomic<int> served{0};
  std::atomic<int> before_other{-1};
  // One Processor: what is sent while a fiber holds it is all there when the next events are looked for.
  HttpServer server({{.spec = {.path = "/a"}, .handler = handler([&](http::Exchange& ex) {
                                                ++served;
                                                return ex.respond(200, "text/plain", "a");
                                              })},
                     {.spec = {.path = "/b"}, .handler = handler([&](http::Exchange& ex) {
                                                before_other = served.load();
                                                return ex.respond(200, "text/plain", "b");
                                              })}},
                    {}, 1);
  static constexpr int kPipeline = 400;
  std::string pipeline;
  for (int i = 0; i < kPipeline; ++i) pipeline += get("/a");
  for (const bool pipeline_first : {true, false}) {
    HttpClient greedy(server.port());
    HttpClient modest(server.port());
    for (HttpClient* c : {&greedy, &modest}) REQUIRE(c->ask(get("/a")).has_value());
    served = 0;
    before_other = -1;
    server.runtime().run([&] {
      if (pipeline_first) greedy.send(pipeline);
      modest.send(get("/b"));
      if (!pipeline_first) greedy.send(pipeline);
    });
    REQUIRE(modest.receive().has_value());
    for (int i = 0; i < kPipeline; ++i) REQUIRE(greedy.receive().has_value());
    CHECK(served == kPipeline);
    CHECK(before_other <= 64);
  }
}

TEST_CASE("10,000 requests at once take no more memory than a few, and all are answered", "[integration][abuse]") {
  // Without what grows by what happens and not by what is asked for.
  Daemon daemon(
      "trace: {buffer: 0}\n"
      "profiles: {heap_rate: 0}\n"
      "admin: {address: \"127.0.0.1:0\"}\n"
      "listeners:\n"
      "  - name: web\n"
      "    address: \"127.0.0.1:0\"\n"
      "    http:\n"
      "      routes: [{path: /, respond: {body: \"" +
      std::string(2000, 'x') + "\"}}]\n");
  static constexpr int kRequests = 10'000;
  HttpClient client(daemon.port("web"), 4096);
  REQUIRE(client.ask(get("/")).has_value());
  const double before = daemon.metric("process_resident_memory_bytes").value_or(0);
  const double answered =
      daemon.metric("fiberd_http_requests_total{listener=\"web\",route=\"/\",method=\"GET\",code=\"200\"}").value_or(0);
  std::thread sender([&] {
    std::string all;
    for (int i = 0; i < kRequests; ++i) all += get("/");
    client.send(all);
  });
  // It goes on until the sockets are full, and then it waits for the client: so many are answered, and no more.
  const auto progress = [&] {
    return daemon.metric("fiberd_http_requests_total{listener=\"web\",route=\"/\",method=\"GET\",code=\"200\"}")
               .value_or(0) -
           answered;
  };
  double seen = 0;
  CHECK(eventually([&] { return progress() > 0; }));
  CHECK(eventually([&] { return std::exchange(seen, progress()) == progress(); }));
  CHECK(seen < kRequests);
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)  // whose shadow is resident too
  CHECK(daemon.metric("process_resident_memory_bytes").value_or(0) - before < 1024 * 1024);
#endif
  int right = 0;
  for (int i = 0; i < kRequests; ++i) {
    const auto answer = client.receive();
    if (!answer) break;
    right += answer->status == 200 && answer->body.size() == 2000 ? 1 : 0;
  }
  sender.join();
  CHECK(right == kRequests);
}
