// How connections end: that the last answer is read, that it says so, and that nobody holds one for longer than
// allowed.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

#include "core/http/files/files.hpp"
#include "core/metric/registry.hpp"
#include "tests/integration/requests.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

struct Counted {
  metric::Registry registry;
  metric::Counter& counter(const char* name) { return registry.counter(registry.family({.name = name, .help = "h"})); }
  metric::Counter& header = counter("header_total");
  metric::Counter& body = counter("body_total");
  metric::Counter& body_rate = counter("body_rate_total");
  metric::Counter& request = counter("request_total");
  metric::Counter& idle = counter("idle_total");
  metric::Counter& unread = counter("unread_total");
  metric::Counter& requests = counter("requests_total");
  metric::Counter& truncated = counter("truncated_total");
  metric::Counter& write = counter("write_total");
  metric::Family& refused = registry.family({.name = "refused_total", .help = "h", .labels = {"listener", "reason"}});
  metric::LateCounter no_length{registry, refused, "web", "length_required"};
  metric::Gauge& idle_now = registry.gauge(registry.family({.name = "idle", .help = "h", .type = metric::Type::gauge}));
  [[nodiscard]] http::ServerOptions options() {
    http::ServerOptions o;
    o.metrics.header_timeouts = &header;
    o.metrics.body_timeouts = &body;
    o.metrics.body_rate = &body_rate;
    o.metrics.request_timeouts = &request;
    o.metrics.idle_timeouts = &idle;
    o.metrics.write_timeouts = &write;
    o.metrics.closed_unread_body = &unread;
    o.metrics.closed_requests = &requests;
    o.metrics.closed_truncated = &truncated;
    o.metrics.rejects[static_cast<std::size_t>(http::Reject::length_required)] = &no_length;
    o.metrics.idle = &idle_now;
    return o;
  }
};

std::vector<http::Route> hello_echo_and_get() {
  return {{.spec = {.path = "/"}, .handler = hello()},
          {.spec = {.path = "/echo"}, .handler = http::make_echo_handler()},
          {.spec = {.path = "/get", .methods = http::MethodSet::of(http::Method::get)}, .handler = hello()}};
}

/// Waits until something can be read.
void wait_readable(const HttpClient& client) {
  char byte = 0;
  REQUIRE(::recv(client.fd(), &byte, 1, MSG_PEEK) == 1);
}

}  // namespace

TEST_CASE("a client that sends its body late reads the answer that refused it", "[integration][end]") {
  Counted counted;
  HttpServer server(hello_echo_and_get(), counted.options());
  struct Row {
    const char* path;
    unsigned status;
  };
  for (const Row& row : {Row{"/echo", 413}, Row{"/", 413}, Row{"/get", 405}, Row{"/none", 413}}) {
    INFO(row.path);
    HttpClient client(server.port());
    REQUIRE(client.send(post(row.path, "Content-Length: 8000000\r\n")));
    wait_readable(client);
    // Were the connection closed, a reset would take the answer away.
    CHECK(client.send(std::string(8'000'000, 'x')));
    const auto answer = client.receive();
    REQUIRE(answer.has_value());
    CHECK(answer->status == row.status);
    CHECK(answer->field("Connection") == "close");
    CHECK(client.wait_end());
  }
}

TEST_CASE("a body that nobody reads: drained, or the answer says that the connection ends", "[integration][end]") {
  Counted counted;
  HttpServer server(hello_echo_and_get(), counted.options());
  {
    HttpClient client(server.port());
    REQUIRE(client.send(post("/", "Content-Length: 200000\r\n") + std::string(200'000, 'x')));
    const auto answer = client.receive();
    REQUIRE(answer.has_value());
    CHECK(answer->field("Connection").empty());
    CHECK(client.ask(get("/")).has_value());
    CHECK(counted.unread.value() == 0);
  }
  HttpClient client(server.port());
  REQUIRE(client.send(post("/", "Content-Length: 900000\r\n")));
  wait_readable(client);
  CHECK(client.send(std::string(900'000, 'x')));
  const auto answer = client.receive();
  REQUIRE(answer.has_value());
  CHECK(answer->status == 200);
  CHECK(answer->field("Connection") == "close");
  CHECK(client.wait_end());
  CHECK(counted.unread.value() == 1);
}

TEST_CASE("who asked for the end, or left, is no connection closed for its body", "[integration][end]") {
  Counted counted;
  HttpServer server(hello_echo_and_get(), counted.options());
  HttpClient last(server.port());
  REQUIRE(last.send(post("/", "Connection: close\r\nContent-Length: 900000\r\n") + std::string(900'000, 'x')));
  REQUIRE(last.receive().value_or(Answer{}).status == 200);
  CHECK(last.wait_end());
  HttpClient leaves(server.port());
  REQUIRE(leaves.send(post("/", "Content-Length: 9000\r\n") + "x"));
  REQUIRE(leaves.receive().value_or(Answer{}).status == 200);
  leaves.finish_sending();
  CHECK(leaves.wait_end());
  CHECK(counted.unread.value() == 0);
}

TEST_CASE("a file's answer to a large body says that the connection ends", "[integration][end]") {
  const TemporaryDirectory site;
  site.write("a.txt", "text");
  std::vector<http::Route> all = hello_echo_and_get();
  all.push_back({.spec = {.path = "/files/*"}, .handler = *http::make_files_handler({.root = site.path()})});
  HttpServer server(std::move(all));
  HttpClient client(server.port());
  REQUIRE(client.send("GET /files/a.txt HTTP/1.1\r\nHost: a\r\nContent-Length: 900000\r\n\r\n"));
  wait_readable(client);
  CHECK(client.send(std::string(900'000, 'x')));
  const auto answer = client.receive();
  REQUIRE(answer.has_value());
  CHECK(answer->body == "text");
  CHECK(answer->field("Connection") == "close");
  CHECK(client.wait_end());
}

TEST_CASE("after a send that failed nothing more is sent", "[integration][end]") {
  // Whatever came behind half an answer would be taken for its rest.
  for (const std::size_t size : {std::size_t{242}, std::size_t{7900}, std::size_t{30'000}}) {
    INFO("answers of " << size);
    Counted counted;
    http::ServerOptions options = counted.options();
    options.timeouts.write = 100ms;
    std::vector<http::Route> all = hello_echo_and_get();
    all.push_back(
        {.spec = {.path = "/y"},
         .handler = *http::make_respond_handler({.content_type = "text/plain", .body = std::string(size, 'y')})});
    HttpServer server(std::move(all), std::move(options));
    HttpClient client(server.port(), 65536);
    std::string pipeline;
    for (int i = 0; i < 20'000; ++i) pipeline += get("/y");
    std::thread sender([&] { client.send(pipeline); });
    CHECK(eventually([&] { return counted.write.value() == 1; }));
    while (client.more()) {
    }
    sender.join();
    const std::string& all_of_it = client.rest();
    CHECK(all_of_it.find("HTTP/1.1 200") == 0);
    CHECK(all_of_it.find(" 500 ") == std::string::npos);
    CHECK(all_of_it.find(" 503 ") == std::string::npos);
    CHECK(counted.write.value() == 1);
  }
}

TEST_CASE("a deadline that the handler used up itself is not the client's fault", "[integration][end]") {
  Counted counted;
  std::vector<http::Route> all = hello_echo_and_get();
  all.push_back({.spec = {.path = "/slow"},
                 .handler = handler([](http::Exchange& ex) -> Result<void> {
                   while (monotonic_now() <= ex.deadline().ns()) (void)runtime::sleep_for(5ms);
                   const auto piece = ex.read_body();
                   if (!piece) return fail(piece.error());
                   return ex.respond(200, "text/plain", "read");
                 }),
                 .request_timeout = 50ms});
  HttpServer server(std::move(all), counted.options());
  HttpClient client(server.port());
  CHECK(client.ask(post("/slow", "Content-Length: 5\r\n")).value_or(Answer{}).status == 503);
  CHECK(counted.request.value() == 1);
}

TEST_CASE("a chunk that is refused in the middle of an answer ends the connection in order", "[integration][end]") {
  HttpServer server(hello_echo_and_get());
  HttpClient client(server.port());
  // More than is held back: its head is committed.
  REQUIRE(
      client.send(post("/echo", "Transfer-Encoding: chunked\r\n") + "8000\r\n" + std::string(0x8000, 'h') + "\r\n"));
  wait_readable(client);
  CHECK(client.send("x\r\n" + std::string(600'000, 'x')));
  while (client.more()) {
  }
  CHECK(client.ended());
  CHECK(client.error() == 0);
  CHECK(client.rest().starts_with("HTTP/1.1 200 "));
  CHECK(client.rest().find("hhhh") != std::string::npos);
  CHECK_FALSE(client.rest().ends_with("0\r\n\r\n"));
}

TEST_CASE("late head: an echo whose body's chunking breaks is a clean 400", "[integration][end]") {
  HttpServer server(hello_echo_and_get());
  HttpClient client(server.port());
  REQUIRE(client.send(post("/echo", "Transfer-Encoding: chunked\r\n") + "5\r\nhello\r\nx\r\n"));
  const auto answer = client.receive();
  REQUIRE(answer.has_value());
  CHECK(answer->status == 400);
  CHECK(answer->field("Connection") == "close");
  CHECK(answer->body.find("hello") == std::string::npos);
}

TEST_CASE("late head: a short answer in pieces has its length, a long one is chunked, 1.0 is kept",
          "[integration][end]") {
  std::vector<http::Route> all = hello_echo_and_get();
  const auto pieces = [](std::size_t n, std::size_t size) {
    return handler([n, size](http::Exchange& ex) -> Result<void> {
      if (const auto sent = ex.begin({.content_type = "text/plain"}); !sent) return sent;
      for (std::size_t i = 0; i < n; ++i)
        if (const auto sent = ex.write(std::string(size, 'p')); !sent) return sent;
      return ex.end();
    });
  };
  all.push_back({.spec = {.path = "/short"}, .handler = pieces(3, 100)});
  all.push_back({.spec = {.path = "/empty"}, .handler = pieces(0, 0)});
  all.push_back({.spec = {.path = "/edge"}, .handler = pieces(40, 1000)});
  all.push_back({.spec = {.path = "/long"}, .handler = pieces(3, 100'000)});
  HttpServer server(std::move(all));
  HttpClient client(server.port());
  // Behind others in one send, too.
  REQUIRE(client.send(get("/") + get("/short") + get("/empty") + get("/edge") + get("/long") + get("/short")));
  CHECK(client.receive().value_or(Answer{}).body == "hello");
  const Answer brief = client.receive().value_or(Answer{});
  CHECK(brief.field("Content-Length") == "300");
  CHECK(brief.field("Transfer-Encoding").empty());
  CHECK(brief.body == std::string(300, 'p'));
  CHECK(client.receive().value_or(Answer{}).field("Content-Length") == "0");
  const Answer edge = client.receive().value_or(Answer{});
  CHECK(edge.field("Transfer-Encoding") == "chunked");
  CHECK(edge.body == std::string(40'000, 'p'));
  const Answer large = client.receive().value_or(Answer{});
  CHECK(large.field("Transfer-Encoding") == "chunked");
  CHECK(large.body == std::string(300'000, 'p'));
  CHECK(client.receive().value_or(Answer{}).body == std::string(300, 'p'));
  const Answer head = client.ask("HEAD /short HTTP/1.1\r\nHost: a\r\n\r\n", true).value_or(Answer{});
  CHECK(head.field("Content-Length") == "300");
  HttpClient old(server.port());
  const Answer kept = old.ask("GET /short HTTP/1.0\r\nConnection: keep-alive\r\n\r\n").value_or(Answer{});
  CHECK(kept.field("Connection") == "keep-alive");
  CHECK(kept.body == std::string(300, 'p'));
}

TEST_CASE("late head: who throws, fails or changes its mind after small writes gives one clean answer",
          "[integration][end]") {
  std::vector<http::Route> all = hello_echo_and_get();
  const auto fails = [](auto how) {
    return handler([how](http::Exchange& ex) -> Result<void> {
      if (const auto sent = ex.begin({}); !sent) return sent;
      if (const auto sent = ex.write("half of it"); !sent) return sent;
      return how(ex);
    });
  };
  all.push_back({.spec = {.path = "/throws"},
                 .handler = fails([](http::Exchange&) -> Result<void> { throw std::runtime_error("late"); })});
  all.push_back(
      {.spec = {.path = "/fails"}, .handler = fails([](http::Exchange&) { return fail(std::errc::io_error); })});
  all.push_back(
      {.spec = {.path = "/tells"}, .handler = fails([](http::Exchange& ex) { return ex.respond_error(502); })});
  all.push_back({.spec = {.path = "/discards"}, .handler = fails([](http::Exchange& ex) -> Result<void> {
                                                  if (!ex.discard()) return {};
                                                  return ex.respond(418, "text/plain", "other");
                                                })});
  HttpServer server(std::move(all));
  for (const auto& [path, status] :
       {std::pair("/throws", 500U), {"/fails", 500U}, {"/tells", 502U}, {"/discards", 418U}}) {
    INFO(path);
    HttpClient client(server.port());
    const auto answer = client.ask(get(path));
    REQUIRE(answer.has_value());
    CHECK(answer->status == status);
    CHECK(answer->body.find("half") == std::string::npos);
  }
}

TEST_CASE("late head: flush() sends what was written", "[integration][end]") {
  std::vector<http::Route> all = hello_echo_and_get();
  std::atomic<bool> go_on{false};
  all.push_back({.spec = {.path = "/stream"}, .handler = streams_when(go_on)});
  HttpServer server(std::move(all));
  HttpClient client(server.port());
  REQUIRE(client.send(get("/stream")));
  while (client.rest().find("first") == std::string::npos && client.more()) {
  }
  CHECK(client.rest().find("second") == std::string::npos);
  go_on = true;
  CHECK(client.receive().value_or(Answer{}).body == "firstsecond");
}

TEST_CASE("timeouts.request holds while a handler waits for the body, and is counted once", "[integration][end]") {
  Counted counted;
  std::vector<http::Route> all = hello_echo_and_get();
  all[1].request_timeout = 100ms;
  HttpServer server(std::move(all), counted.options());
  HttpClient client(server.port());
  REQUIRE(client.send(post("/echo", "Content-Length: 5\r\n")));
  const auto answer = client.receive();
  REQUIRE(answer.has_value());
  CHECK(answer->status == 408);
  client.finish_sending();
  CHECK(client.wait_end());
  CHECK(counted.request.value() == 1);
  CHECK(counted.body.value() + counted.body_rate.value() == 0);
}

TEST_CASE("a body that is too slow is counted once", "[integration][end]") {
  Counted counted;
  http::ServerOptions options = counted.options();
  options.timeouts.grace = 100ms;
  HttpServer server(hello_echo_and_get(), std::move(options));
  HttpClient client(server.port());
  REQUIRE(client.send(post("/echo", "Content-Length: 5\r\n")));
  REQUIRE(client.receive().value_or(Answer{}).status == 408);
  client.finish_sending();
  CHECK(client.wait_end());
  CHECK(counted.body_rate.value() == 1);
  CHECK(counted.body.value() == 0);
}

TEST_CASE("the header time-out counts from accept", "[integration][end]") {
  Counted counted;
  http::ServerOptions options = counted.options();
  options.timeouts.header = 1s;
  HttpServer server(hello_echo_and_get(), std::move(options));
  HttpClient silent(server.port());
  HttpClient late(server.port());
  const auto begin = std::chrono::steady_clock::now();
  std::this_thread::sleep_for(800ms);  // the lateness that is tested
  REQUIRE(late.send("GET / HT"));
  REQUIRE(late.receive().value_or(Answer{}).status == 408);
  CHECK(std::chrono::steady_clock::now() - begin < 1700ms);
  CHECK(silent.wait_end());
  CHECK(counted.header.value() == 2);
  CHECK(counted.idle.value() == 0);
}

TEST_CASE("an empty line behind a request is no reason to stay awake, nor for a 408", "[integration][end]") {
  Counted counted;
  http::ServerOptions options = counted.options();
  options.timeouts.header = 200ms;
  HttpServer server(hello_echo_and_get(), std::move(options));
  HttpClient client(server.port());
  REQUIRE(client.ask(post("/echo", "Content-Length: 2\r\n") + "hi\r\n").has_value());
  CHECK(eventually([&] { return counted.idle_now.value() == 1; }));
  REQUIRE(client.ask(get("/")).has_value());
  REQUIRE(client.send("\r\n"));
  std::this_thread::sleep_for(400ms);  // longer than a head may take
  REQUIRE(client.ask(get("/")).has_value());
  CHECK(counted.header.value() == 0);
  // It is still one empty line and not two, however they come.
  REQUIRE(client.send("\r\n"));
  CHECK(eventually([&] { return counted.idle_now.value() == 1; }));
  CHECK(client.ask("\r\n" + get("/")).value_or(Answer{}).status == 400);
}

TEST_CASE("a refused head: what was understood of it shapes the answer", "[integration][end]") {
  HttpServer server(hello_echo_and_get());
  HttpClient head(server.port());
  REQUIRE(head.send("HEAD / HTTP/1.1\r\n\r\n"));
  const auto answer = head.receive(true);
  REQUIRE(answer.has_value());
  CHECK(answer->status == 400);
  CHECK(head.wait_end());  // and no content before it
  HttpClient json(server.port());
  REQUIRE(json.send("GET / HTTP/1.1\r\nAccept: application/json\r\n\r\n"));
  CHECK(json.receive().value_or(Answer{}).field("Content-Type") == "application/problem+json");
}

TEST_CASE("411 where a route asks for the length", "[integration][end]") {
  Counted counted;
  std::vector<http::Route> all = hello_echo_and_get();
  all[1].require_length = true;
  HttpServer server(std::move(all), counted.options());
  HttpClient client(server.port());
  CHECK(client.ask(post("/echo", "")).value_or(Answer{}).status == 411);
  CHECK(client.ask(post("/echo", "Transfer-Encoding: chunked\r\n") + "0\r\n\r\n").value_or(Answer{}).status == 411);
  CHECK(client.ask(post("/echo", "Content-Length: 2\r\n") + "hi").value_or(Answer{}).status == 200);
  CHECK(client.ask(get("/echo")).value_or(Answer{}).status == 200);  // has no content, and needs no length
  CHECK(client.ask(post("/", "")).value_or(Answer{}).status == 200);
  CHECK(counted.no_length.value() == 2);
}

TEST_CASE("connections that are closed for their requests, or for an answer cut short, are counted",
          "[integration][end]") {
  Counted counted;
  http::ServerOptions options = counted.options();
  options.requests = 1;
  std::vector<http::Route> all = hello_echo_and_get();
  all.push_back({.spec = {.path = "/shrinks"}, .handler = handler([](http::Exchange& ex) -> Result<void> {
                                                 if (const auto sent = ex.begin({.content_length = 10}); !sent)
                                                   return sent;
                                                 if (const auto sent = ex.flush(); !sent) return sent;
                                                 return fail(std::errc::io_error);
                                               })});
  HttpServer server(std::move(all), std::move(options));
  HttpClient one(server.port());
  CHECK(one.ask(get("/")).value_or(Answer{}).field("Connection") == "close");
  HttpClient two(server.port());
  CHECK_FALSE(two.ask(get("/shrinks")).has_value());
  CHECK(two.ended());
  CHECK(counted.requests.value() == 2);
  CHECK(counted.truncated.value() == 1);
}

TEST_CASE("when new connections are refused those that are there are served", "[integration][end]") {
  HttpServer server(hello_echo_and_get());
  HttpClient kept(server.port());
  REQUIRE(kept.ask(get("/")).has_value());
  server.runtime().set_admission_hook([](std::string_view name) noexcept {
    return as_result(name == "http" ? std::make_error_code(std::errc::not_enough_memory) : std::error_code{});
  });
  for (int i = 0; i < 10; ++i) REQUIRE(kept.ask(get("/")).has_value());
  HttpClient fresh(server.port());
  CHECK_FALSE(fresh.ask(get("/")).has_value());
  server.runtime().set_admission_hook(nullptr);
}

TEST_CASE("heads and answers that are larger than the output buffer", "[integration][end]") {
  const std::string location = "/new?" + std::string(6000, 'q');
  const std::string value(9000, 'v');
  std::vector<http::Route> all = hello_echo_and_get();
  all.push_back({.spec = {.path = "/moved"}, .handler = handler([&](http::Exchange& ex) {
                                               const http::Field field{"Location", location};
                                               return ex.respond(301, "text/plain", "moved\n", {&field, 1});
                                             })});
  all.push_back({.spec = {.path = "/large"},
                 .handler = *http::make_respond_handler({.content_type = "text/plain",
                                                         .body = std::string(8000, 'b'),
                                                         .headers = {{"X-Large", value}, {"X-Larger", value}}})});
  HttpServer server(std::move(all));
  HttpClient client(server.port());
  std::string pipeline;
  for (int i = 0; i < 20; ++i) pipeline += get("/moved") + get("/") + get("/large");
  REQUIRE(client.send(pipeline));
  for (int i = 0; i < 20; ++i) {
    CHECK(client.receive().value_or(Answer{}).field("Location") == location);
    CHECK(client.receive().value_or(Answer{}).body == "hello");
    const Answer large = client.receive().value_or(Answer{});
    CHECK(large.field("X-Larger") == value);
    CHECK(large.body.size() == 8000);
  }
  const std::string type(16'000, 't');
  const auto echoed = client.ask(post("/echo", "Content-Type: " + type + "\r\nContent-Length: 2\r\n") + "hi");
  REQUIRE(echoed.has_value());
  CHECK(echoed->status == 200);
  CHECK(echoed->field("Content-Type") == type);
  CHECK(echoed->body == "hi");
}

TEST_CASE("a body that nobody reads is drained for a bounded time", "[.nightly][integration][end]") {
  Counted counted;
  HttpServer server(hello_echo_and_get(), counted.options());
  HttpClient client(server.port());
  REQUIRE(client.send(post("/", "Content-Length: 250000\r\n")));
  REQUIRE(client.receive().value_or(Answer{}).status == 200);
  const auto begin = std::chrono::steady_clock::now();
  const std::string drop(1000, 'x');
  while (client.send(drop) && std::chrono::steady_clock::now() - begin < 30s) std::this_thread::sleep_for(200ms);
  CHECK(std::chrono::steady_clock::now() - begin < 20s);
  CHECK(counted.unread.value() == 1);
}
