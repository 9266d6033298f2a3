// What the access log is told of an answer: who asked, how much of it was sent, and how long it took.
#include <sys/socket.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <mutex>
#include <string>
#include <vector>

#include "core/metric/status_counters.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

struct Line {
  std::string client, target;
  unsigned status = 0;
  std::uint64_t bytes = 0;
  std::uint64_t head_ns = 0;
  std::uint64_t duration_ns = 0;
};

class Lines {
 public:
  [[nodiscard]] http::ServerOptions options() {
    http::ServerOptions o;
    o.access_log = {[](void* self, const http::AccessRecord& r) noexcept {
                      auto& lines = *static_cast<Lines*>(self);
                      const std::scoped_lock lock(lines.mutex_);
                      lines.all_.push_back(
                          {r.peer->host(), std::string(r.target), r.status, r.body_bytes, r.head_ns, r.duration_ns});
                    },
                    this};
    return o;
  }
  /// Of that target; an empty one when there is none.
  [[nodiscard]] Line wait_for(const std::string& target) {
    Line found;
    (void)eventually([&] {
      const std::scoped_lock lock(mutex_);
      for (const Line& line : all_)
        if (line.target == target) found = line;
      return !found.target.empty();
    });
    return found;
  }

 private:
  std::mutex mutex_;
  std::vector<Line> all_;
};

/// Closes so that the server gets a reset.
void reset(std::unique_ptr<HttpClient>& client) {
  const linger hard{1, 0};
  REQUIRE(::setsockopt(client->fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
  client.reset();
}

/// Handlers that wait until the test says so, and then for the server to notice that the client has gone.
struct Gone {
  std::atomic<bool> entered{false};
  std::atomic<bool> go_on{false};
  void wait(http::Exchange& ex) {
    entered = true;
    while (!go_on || !ex.client_context().done()) (void)runtime::sleep_for(1ms);
  }
};

}  // namespace

TEST_CASE("the client's address is known after it has reset the connection", "[integration][account]") {
  Lines lines;
  Gone gone;
  HttpServer server({{.spec = {.path = "/late"}, .handler = handler([&](http::Exchange& ex) {
                                                   gone.wait(ex);
                                                   return ex.respond(200, "text/plain", std::string(100'000, 'x'));
                                                 })}},
                    lines.options());
  auto client = std::make_unique<HttpClient>(server.port());
  REQUIRE(client->send(get("/late")));
  REQUIRE(eventually([&] { return gone.entered.load(); }));
  reset(client);
  gone.go_on = true;
  const Line line = lines.wait_for("/late");
  CHECK(line.client == "127.0.0.1");
  CHECK(line.status == 499);  // nothing of the answer was sent
  CHECK(line.bytes == 0);
}

TEST_CASE("the time to the head is that of this request, not of the last look at the clock", "[integration][account]") {
  Lines lines;
  HttpServer server({{.spec = {.path = "/"}, .handler = handler([](http::Exchange& ex) {
                                               // Shorter than a slice: nobody else has looked at the clock.
                                               const std::int64_t until = monotonic_now() + 50'000;
                                               while (monotonic_now() < until) {
                                               }
                                               return ex.respond(200, "text/plain", "x");
                                             })}},
                    lines.options());
  HttpClient client(server.port());
  REQUIRE(client.ask(get("/")));
  const Line line = lines.wait_for("/");
  CHECK(line.head_ns >= 50'000);
  CHECK(line.duration_ns >= line.head_ns);
}

TEST_CASE("an answer is accounted when it is sent, and not when its request's body has been drained",
          "[integration][account]") {
  Lines lines;
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()}}, lines.options());
  HttpClient client(server.port());
  REQUIRE(client.send("POST /?1 HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n"));
  // The body comes only after the line: were it part of the duration there would be none.
  REQUIRE(lines.wait_for("/?1").bytes == 5);
  REQUIRE(client.send(std::string(100'000, 'x')));
  CHECK(client.receive().value_or(Answer{}).body == "hello");
  CHECK(client.ask(get("/?2")).value_or(Answer{}).body == "hello");
  // Also where a part of the body came with the head, and where its length is not told.
  REQUIRE(client.send("POST /?3 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234"));
  REQUIRE(lines.wait_for("/?3").bytes == 5);
  REQUIRE(client.send("56789"));
  REQUIRE(client.send("POST /?4 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n"));
  REQUIRE(lines.wait_for("/?4").bytes == 5);
  REQUIRE(client.send("0\r\n\r\n" + get("/?5")));
  CHECK(lines.wait_for("/?5").bytes == 5);
}

TEST_CASE("bytes are counted when they have been sent", "[integration][account]") {
  static constexpr std::size_t kSize = 64'000'000;
  const std::string large(kSize, 'x');
  Lines lines;
  HttpServer server({{.spec = {.path = "/respond"},
                      .handler = handler([&](http::Exchange& ex) { return ex.respond(200, "text/plain", large); })},
                     {.spec = {.path = "/pieces"}, .handler = handler([&](http::Exchange& ex) -> Result<void> {
                                                     if (const auto sent = ex.begin({}); !sent) return sent;
                                                     if (const auto sent = ex.write(large); !sent) return sent;
                                                     return ex.end();
                                                   })}},
                    lines.options());
  for (const char* const path : {"/respond", "/pieces"}) {
    INFO(path);
    auto client = std::make_unique<HttpClient>(server.port(), 4096);
    REQUIRE(client->send(get(path)));
    REQUIRE(client->more());
    reset(client);
    const Line cut = lines.wait_for(path);
    CHECK(cut.status == 200);
    CHECK(cut.bytes > 0);
    CHECK(cut.bytes < kSize);
    HttpClient whole(server.port());
    const std::string again = std::string(path) + "?whole";
    CHECK(whole.ask(get(again)).value_or(Answer{}).body.size() == kSize);
    CHECK(lines.wait_for(again).bytes == kSize);
  }
}

TEST_CASE("answers of a pipeline that are never sent are not accounted as sent", "[integration][account]") {
  Lines lines;
  Gone gone;
  HttpServer server({{.spec = {.path = "/"}, .handler = hello()},
                     {.spec = {.path = "/late"}, .handler = handler([&](http::Exchange& ex) {
                                                   gone.wait(ex);
                                                   return ex.respond(200, "text/plain", "late");
                                                 })}},
                    lines.options());
  auto client = std::make_unique<HttpClient>(server.port());
  REQUIRE(client->send(get("/?1") + get("/?2") + get("/late")));
  REQUIRE(eventually([&] { return gone.entered.load(); }));
  reset(client);
  gone.go_on = true;
  REQUIRE(lines.wait_for("/late").status == 499);
  for (const char* const target : {"/?1", "/?2"}) {
    INFO(target);
    const Line line = lines.wait_for(target);
    CHECK(line.status == 499);
    CHECK(line.bytes == 0);
  }
}
