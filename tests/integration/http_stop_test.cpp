// What a stop does to connections that were told that they go on: nothing they were promised is cut.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "core/metric/registry.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

http::ServerOptions with_grace(std::chrono::nanoseconds grace) {
  http::ServerOptions options;
  options.timeouts.drain = grace;
  return options;
}

std::vector<http::Route> hello_echo_and_pieces() {
  return {{.spec = {.path = "/"}, .handler = hello()},
          {.spec = {.path = "/echo"}, .handler = http::make_echo_handler()},
          {.spec = {.path = "/pieces"}, .handler = handler([](http::Exchange& ex) -> Result<void> {
                                          if (const auto sent = ex.begin({}); !sent) return sent;
                                          if (const auto sent = ex.write("pieces"); !sent) return sent;
                                          return ex.end();
                                        })}};
}

/// stop() on a thread of its own, for it ends when the connections have.
class Stopping {
 public:
  Stopping(HttpServer& server, std::chrono::nanoseconds within)
      : thread_([&server, within, this] { cut_ = server.stop(within); }) {}
  ~Stopping() { (void)cut(); }
  std::size_t cut() {
    if (thread_.joinable()) thread_.join();
    return cut_;
  }

 private:
  std::size_t cut_ = 0;
  std::thread thread_;
};

}  // namespace

TEST_CASE("from the beginning of a stop every answer says that it is the connection's last", "[integration][stop]") {
  HttpServer server(hello_echo_and_pieces());
  HttpClient early(server.port());
  CHECK(early.ask(get("/")).value_or(Answer{}).field("Connection").empty());
  server.server().begin_stop();
  // On a connection that was told it goes on, and on new ones; prepared answers, answers in pieces, and errors.
  CHECK(early.ask(get("/")).value_or(Answer{}).field("Connection") == "close");
  CHECK(early.wait_end());
  for (const char* const path : {"/", "/pieces", "/nowhere", "/echo"}) {
    INFO(path);
    HttpClient client(server.port());
    const Answer answer = client.ask(get(path)).value_or(Answer{});
    CHECK(answer.status == (std::string_view(path) == "/nowhere" ? 404U : 200U));
    CHECK(answer.field("Connection") == "close");
    CHECK(client.wait_end());
  }
  HttpClient old(server.port());
  const Answer answer = old.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").value_or(Answer{});
  CHECK(answer.status == 200);
  CHECK(answer.field("Connection") == "close");
}

TEST_CASE("a stop between a request's head and its answer: the answer says so", "[integration][stop]") {
  std::vector<http::Route> all = hello_echo_and_pieces();
  std::atomic<int> waiting{0};
  std::atomic<bool> go_on{false};
  const auto wait = [&] {
    ++waiting;
    while (!go_on) (void)runtime::sleep_for(1ms);
  };
  all.push_back({.spec = {.path = "/slow"}, .handler = handler([&](http::Exchange& ex) {
                                              wait();
                                              return ex.respond(200, "text/plain", "slow");
                                            })});
  all.push_back({.spec = {.path = "/begun"}, .handler = handler([&](http::Exchange& ex) -> Result<void> {
                                               if (const auto sent = ex.begin({}); !sent) return sent;
                                               if (const auto sent = ex.write("be"); !sent) return sent;
                                               wait();
                                               if (const auto sent = ex.write("gun"); !sent) return sent;
                                               return ex.end();
                                             })});
  HttpServer server(std::move(all));
  HttpClient slow(server.port());
  HttpClient begun(server.port());
  HttpClient echo(server.port());
  REQUIRE(slow.send(get("/slow")));
  REQUIRE(begun.send(get("/begun")));
  REQUIRE(echo.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nec"));
  REQUIRE(eventually([&] { return waiting == 2 && server.server().connections() == 3; }));
  server.server().begin_stop();
  go_on = true;
  REQUIRE(echo.send("ho"));
  const std::pair<HttpClient*, const char*> asked[] = {{&slow, "slow"}, {&begun, "begun"}, {&echo, "echo"}};
  for (const auto& [client, body] : asked) {
    const Answer answer = client->receive().value_or(Answer{});
    CHECK(answer.status == 200);
    CHECK(answer.body == body);
    CHECK(answer.field("Connection") == "close");
    CHECK(client->wait_end());
  }
}

TEST_CASE("an answer that promised to go on before a stop, and ends after it: the next request is served",
          "[integration][stop]") {
  std::vector<http::Route> all = hello_echo_and_pieces();
  std::atomic<bool> go_on{false};
  all.push_back({.spec = {.path = "/stream"}, .handler = streams_when(go_on)});
  HttpServer server(std::move(all), with_grace(1h));
  HttpClient stream(server.port());
  HttpClient idle(server.port());
  HttpClient fresh(server.port());  // has not said anything yet
  REQUIRE(idle.ask(get("/")).value_or(Answer{}).field("Connection").empty());
  REQUIRE(stream.send(get("/stream")));
  while (stream.rest().find("first") == std::string::npos && stream.more()) {
  }
  REQUIRE(stream.rest().find("Connection: close") == std::string::npos);
  REQUIRE(eventually([&] { return server.server().connections() == 3; }));
  Stopping stopping(server, 1h);
  REQUIRE(eventually([&] {
    try {
      HttpClient refused(server.port());
      return false;
    } catch (const std::system_error&) {
      return true;
    }
  }));
  go_on = true;
  CHECK(stream.receive().value_or(Answer{}).body == "firstsecond");
  for (HttpClient* const client : {&stream, &idle, &fresh}) {
    const Answer answer = client->ask(get("/")).value_or(Answer{});
    CHECK(answer.body == "hello");
    CHECK(answer.field("Connection") == "close");
    CHECK(client->wait_end());
  }
  CHECK(stopping.cut() == 0);
}

TEST_CASE("a connection that a stop parts from ends in order, also for who was just asking", "[integration][stop]") {
  HttpServer server(hello_echo_and_pieces(), with_grace(0ns));
  HttpClient crossing(server.port());
  HttpClient leaving(server.port());
  REQUIRE(crossing.ask(get("/")).has_value());
  REQUIRE(leaving.ask(get("/")).has_value());
  Stopping stopping(server, 1h);
  CHECK(leaving.wait_end());
  leaving.finish_sending();
  CHECK(crossing.wait_end());
  // What met the FIN half-way is not answered with a reset, which could take away what was not read yet.
  CHECK(crossing.send(get("/") + std::string(100'000, 'x')));
  CHECK_FALSE(crossing.more());
  CHECK(crossing.error() == 0);
  crossing.finish_sending();
  CHECK(stopping.cut() == 0);
}

TEST_CASE("a stop's deadline closes who is idle, and cuts who is not", "[integration][stop]") {
  std::vector<http::Route> all = hello_echo_and_pieces();
  HttpServer server(std::move(all), with_grace(1h));
  std::vector<std::unique_ptr<HttpClient>> idle;
  for (int i = 0; i < 200; ++i) {
    idle.push_back(std::make_unique<HttpClient>(server.port()));
    REQUIRE(idle.back()->ask(get("/")).has_value());
  }
  HttpClient busy(server.port());
  REQUIRE(busy.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nec"));
  HttpClient half(server.port());
  REQUIRE(half.send("GET / HT"));
  REQUIRE(eventually([&] { return server.server().connections() == 202; }));
  CHECK(server.stop(50ms) == 2);
  CHECK(server.server().connections() == 0);
  for (const auto& client : idle) CHECK(client->wait_end());
}
