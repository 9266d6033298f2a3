// The HTTP server over real sockets: what a connection goes through from accept to close.
#include "core/http/server.hpp"

#include <catch2/catch.hpp>
#include <chrono>
#include <stdexcept>
#include <string>
#include <string_view>
#include <thread>

#include "core/context/context.hpp"
#include "core/context/waits.hpp"
#include "core/metric/registry.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/kept_log.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

http::Timeouts short_timeouts() {
  return {.header = 150ms, .body = 150ms, .request = 150ms, .write = 150ms, .idle = 150ms};
}
http::ServerOptions with_timeouts(const http::Timeouts& timeouts) {
  http::ServerOptions options;
  options.timeouts = timeouts;
  return options;
}

}  // namespace

TEST_CASE("respond, redirect, echo", "[integration][http]") {
  http::ServerOptions named;
  named.server_name = "fiberd";
  HttpServer server(
      {route("/", hello()), route("/old", *http::make_redirect_handler({.location = "/new", .server = "fiberd"})),
       route("/large", *http::make_respond_handler({.content_type = "text/plain", .body = std::string(300'000, 'x')})),
       route("/same", *http::make_respond_handler({.status = 304, .body = {}})),
       route("/same-too", handler([](http::Exchange& exchange) { return exchange.respond(304, "", ""); })),
       route("/middle", *http::make_respond_handler({.content_type = "text/plain", .body = std::string(8'000, 'y')})),
       route("/echo", http::make_echo_handler())},
      named);
  HttpClient c(server.port());
  auto a = c.ask(get("/"));
  REQUIRE(a.has_value());
  CHECK(a->status == 200);
  CHECK(a->body == "hello");
  CHECK(a->field("content-type") == "text/plain");
  CHECK(a->field("Date").ends_with(" GMT"));
  a = c.ask(get("/old"));
  REQUIRE(a.has_value());
  CHECK(a->status == 308);
  CHECK(a->field("Location") == "/new");
  CHECK(a->field("Server") == "fiberd");
  for (const char* path : {"/same", "/same-too"}) {
    a = c.ask(get(path));
    REQUIRE(a.has_value());
    CHECK(a->status == 304);
    CHECK(a->field("Content-Length").empty());
  }
  a = c.ask(get("/large"));
  REQUIRE(a.has_value());
  CHECK((a->body == std::string(300'000, 'x')));
  a = c.ask(get("/middle"));
  REQUIRE(a.has_value());
  CHECK((a->body == std::string(8'000, 'y')));
  a = c.ask(get("/none"));
  REQUIRE(a.has_value());
  CHECK(a->status == 404);
  CHECK(a->field("Server") == "fiberd");

  std::string big(1'000'000, ' ');
  for (std::size_t i = 0; i < big.size(); ++i) big[i] = static_cast<char>('a' + i % 23);
  // A client that sends without reading would wait for a server that echoes: as real ones do, both at once.
  std::thread sender([&] {
    c.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: text/x\r\nContent-Length: 1000000\r\n\r\n" + big);
  });
  a = c.receive();
  sender.join();
  REQUIRE(a.has_value());
  CHECK(a->status == 200);
  CHECK(a->field("Content-Type") == "text/x");
  CHECK((a->body == big));
  sender = std::thread([&] {
    c.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n7a120\r\n" + big.substr(0, 500'000) +
           "\r\n7a120\r\n" + big.substr(500'000) + "\r\n0\r\nX: y\r\n\r\n");
  });
  a = c.receive();
  sender.join();
  REQUIRE(a.has_value());
  CHECK(a->field("Transfer-Encoding") == "chunked");
  CHECK((a->body == big));
  a = c.ask(get("/", "Connection: close\r\n"));
  REQUIRE(a.has_value());
  CHECK(a->field("Connection") == "close");
  CHECK(c.wait_end());
}

TEST_CASE("HEAD: the same head, no body, and the connection goes on", "[integration][http]") {
  HttpServer server({route("/", hello()), route("/stream", handler([](http::Exchange& ex) {
                                                  if (const auto sent = ex.begin({}); !sent) return sent;
                                                  if (const auto sent = ex.write("streamed"); !sent) return sent;
                                                  return ex.end();
                                                }))});
  HttpClient c(server.port());
  for (const std::string path : {"/", "/stream", "/none"}) {
    const auto full = c.ask(get(path));
    const auto head = c.ask("HEAD " + path + " HTTP/1.1\r\nHost: a\r\n\r\n", true);
    REQUIRE(full.has_value());
    REQUIRE(head.has_value());
    CHECK(head->status == full->status);
    CHECK(head->field("Content-Length") == full->field("Content-Length"));
    CHECK(head->field("Transfer-Encoding") == full->field("Transfer-Encoding"));
  }
  CHECK(c.ask(get("/"))->body == "hello");
}

TEST_CASE("a pipeline in one write is answered in order and in few sends", "[integration][http]") {
  HttpServer server(
      {route("/n/*", handler([](http::Exchange& ex) { return ex.respond(200, "text/plain", ex.rest()); }))});
  HttpClient c(server.port());
  std::string all;
  for (int i = 0; i < 100; ++i) all += get("/n/" + std::to_string(i));
  c.send(all);
  for (int i = 0; i < 100; ++i) {
    const auto a = c.receive();
    REQUIRE(a.has_value());
    CHECK(a->body == std::to_string(i));
  }
  // 100 answers of some 130 bytes: one send per output buffer, not one per answer.
  CHECK(c.data_segments() <= 5);
}

TEST_CASE("Expect: 100-continue", "[integration][http]") {
  HttpServer server({route("/", hello()), route("/echo", http::make_echo_handler())});
  HttpClient c(server.port());
  c.send("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  while (c.rest().find("\r\n\r\n") == std::string::npos) REQUIRE(c.more());
  CHECK(c.rest() == "HTTP/1.1 100 Continue\r\n\r\n");
  const auto a = c.ask("abc");
  REQUIRE(a.has_value());
  CHECK(a->body == "abc");
  // A body that is there already needs no permission, but may get it.
  const auto b = c.ask("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\ndef");
  REQUIRE(b.has_value());
  CHECK(b->body == "def");
  // A final answer instead: whether the body follows nobody knows, so the connection ends.
  HttpClient d(server.port());
  const auto e = d.ask("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
  REQUIRE(e.has_value());
  CHECK(e->status == 200);
  CHECK(d.interim() == 0);
  CHECK(e->field("Connection") == "close");
  CHECK(d.wait_end());
  // Too large is known before the permission.
  HttpClient f(server.port());
  const auto g = f.ask("POST /echo HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3000000\r\n\r\n");
  REQUIRE(g.has_value());
  CHECK(g->status == 413);
  CHECK(f.interim() == 0);
}

TEST_CASE("time-outs", "[integration][http]") {
  SECTION("a head that does not end is answered 408") {
    HttpServer server({route("/", hello())}, with_timeouts({.header = 150ms}));
    HttpClient c(server.port());
    const auto a = c.ask("GET / HTTP/1.1\r\nHo");
    REQUIRE(a.has_value());
    CHECK(a->status == 408);
    CHECK(a->field("Connection") == "close");
    CHECK(c.wait_end());
  }
  SECTION("dripping does not prolong it") {
    HttpServer server({route("/", hello())}, with_timeouts({.header = 200ms}));
    HttpClient c(server.port());
    const auto begin = std::chrono::steady_clock::now();
    std::thread drip([&] {
      c.send("GET / HTTP/1.1\r\nX: ");
      for (int i = 0; i < 100 && c.send("a"); ++i) std::this_thread::sleep_for(20ms);
    });
    const auto a = c.receive();
    const auto took = std::chrono::steady_clock::now() - begin;
    drip.join();
    REQUIRE(a.has_value());
    CHECK(a->status == 408);
    CHECK(took < 1500ms);
  }
  SECTION("a connection that says nothing is closed, also between requests") {
    HttpServer server({route("/", hello())}, with_timeouts(short_timeouts()));
    HttpClient silent(server.port());
    CHECK(silent.wait_end());
    HttpClient c(server.port());
    REQUIRE(c.ask(get("/")).has_value());
    CHECK(c.wait_end());
  }
  SECTION("a body that stops is answered 408") {
    HttpServer server({route("/echo", handler([](http::Exchange& ex) -> Result<void> {
                               for (;;) {
                                 const auto piece = ex.read_body();
                                 if (!piece) return fail(piece.error());
                                 if (piece->empty()) return ex.respond(200, "text/plain", "all");
                               }
                             }))},
                      with_timeouts({.body = 150ms}));
    HttpClient c(server.port());
    const auto a = c.ask("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    REQUIRE(a.has_value());
    CHECK(a->status == 408);
    CHECK(c.wait_end());
  }
  SECTION("a handler whose wait ends at the request's deadline is answered 503") {
    metric::Registry registry;
    http::ServerOptions options = with_timeouts({.request = 100ms});
    options.metrics.request_timeouts = &registry.counter(registry.family({.name = "test_timeouts_total", .help = "x"}));
    auto patient = handler([](http::Exchange& exchange) -> Result<void> {
      const context::Cancelable c = context::with_deadline(context::background(), exchange.deadline());
      if (const std::error_code error = error_of(context::sleep(c.context, 1h))) return fail(error);
      return exchange.respond(200, "text/plain", "at last");
    });
    http::Route quick = route("/quick", patient);
    quick.request_timeout = 20ms;
    HttpServer server({route("/", patient), quick}, options);
    for (const char* path : {"/", "/quick"}) {
      HttpClient c(server.port());
      const auto a = c.ask(get(path));
      REQUIRE(a.has_value());
      CHECK(a->status == 503);
      CHECK(a->field("Connection") == "close");
      CHECK(c.wait_end());
    }
    CHECK(options.metrics.request_timeouts->value() == 2);
  }
  SECTION("a client that does not read is cut off") {
    metric::Registry registry;
    http::ServerOptions options = with_timeouts({.write = 200ms});
    options.metrics.write_timeouts = &registry.counter(registry.family({.name = "test_timeouts_total", .help = "x"}));
    HttpServer server({route("/large", *http::make_respond_handler(
                                           {.content_type = "text/plain", .body = std::string(20'000'000, 'x')}))},
                      options);
    HttpClient c(server.port(), 8192);
    c.send(get("/large"));
    CHECK(eventually([&] { return options.metrics.write_timeouts->value() == 1; }));
    CHECK(eventually([&] { return server.server().connections() == 0 && server.listener().connections() == 0; }));
    const auto a = c.receive();
    CHECK((!a || a->body.size() < 20'000'000));
  }
}

TEST_CASE("limits of a body", "[integration][http]") {
  http::Route small = route("/small", http::make_echo_handler());
  small.body_size = 4;
  http::ServerOptions limited;
  limited.body_size = 10;
  HttpServer server({small, route("/echo", http::make_echo_handler())}, limited);
  const auto status = [&](const std::string& request) {
    HttpClient c(server.port());
    const auto a = c.ask(request);
    return a ? a->status : 0;
  };
  CHECK(status("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nabcd") == 200);
  CHECK(status("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcde") == 413);
  CHECK(status("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789") == 200);
  CHECK(status("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nb\r\n01234567890\r\n0\r\n\r\n") ==
        413);
  CHECK(status("POST /small HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n") == 413);
}

TEST_CASE("a refused upload: the client reads the answer although it is still sending", "[integration][http]") {
  HttpServer server({route("/", hello())});
  for (int i = 0; i < 20; ++i) {
    HttpClient c(server.port());
    const std::string part(200'000, 'x');
    c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900000000\r\n\r\n" + part);
    c.send(part);
    const auto a = c.receive();
    REQUIRE(a.has_value());
    CHECK(a->status == 413);
    CHECK(c.wait_end());
  }
}

TEST_CASE("a body that the handler left is read away or ends the connection", "[integration][http]") {
  HttpServer server({route("/", hello())});
  HttpClient c(server.port());
  const std::string body(100'000, 'x');
  const auto a = c.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + body + get("/"));
  REQUIRE(a.has_value());
  CHECK(a->status == 200);
  const auto b = c.receive();
  REQUIRE(b.has_value());
  CHECK(b->body == "hello");
}

TEST_CASE("bodies deep in a pipeline", "[integration][http]") {
  // Heads end at every place of the input buffer, at its very end too.
  HttpServer server({route("/", hello()), route("/echo", http::make_echo_handler())});
  for (const std::size_t shift : {0U, 1U, 7U, 63U, 500U, 8000U}) {
    HttpClient c(server.port());
    c.send(get("/", "X: " + std::string(shift, 'x') + "\r\n"));
    std::string all;
    for (int i = 0; i < 300; ++i)
      all += "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 200\r\n\r\n" +
             std::string(200, static_cast<char>('a' + i % 26));
    std::thread sender([&] { c.send(all); });
    const auto first = c.receive();
    int right = first && first->body == "hello" ? 1 : 0;
    for (int i = 0; i < 300; ++i) {
      const auto a = c.receive();
      right += a && a->body == std::string(200, static_cast<char>('a' + i % 26)) ? 1 : 0;
    }
    sender.join();
    CHECK(right == 301);
  }
}

TEST_CASE("keep-alive of 1.0 clients", "[integration][http]") {
  HttpServer server({route("/", hello())});
  HttpClient c(server.port());
  const auto a = c.ask("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
  REQUIRE(a.has_value());
  CHECK(a->field("Connection") == "keep-alive");
  const auto b = c.ask("GET / HTTP/1.0\r\n\r\n");
  REQUIRE(b.has_value());
  CHECK(b->body == "hello");
  CHECK(c.wait_end());
}

TEST_CASE("a half-closed client gets its answer", "[integration][http]") {
  HttpServer server({route("/", hello())});
  for (int i = 0; i < 50; ++i) {
    HttpClient c(server.port());
    c.send(get("/"));
    c.finish_sending();
    const auto a = c.receive();
    REQUIRE(a.has_value());
    CHECK(a->body == "hello");
    CHECK(c.wait_end());
  }
}

TEST_CASE("a handler that throws answers 500, and life goes on", "[integration][http]") {
  const KeptLog log;
  metric::Registry registry;
  metric::Counter& panics = registry.counter(registry.family({.name = "test_panics_total", .help = "x"}));
  http::ServerOptions options;
  options.metrics.panics = &panics;
  HttpServer server(
      {route("/", hello()),
       route("/throw", handler([](http::Exchange&) -> Result<void> { throw std::runtime_error("oops"); })),
       route("/int", handler([](http::Exchange&) -> Result<void> { throw 1; })),
       route("/late", handler([](http::Exchange& ex) -> Result<void> {
               if (const auto sent = ex.begin({}); !sent) return sent;
               if (const auto sent = ex.write("begun"); !sent) return sent;
               if (const auto sent = ex.flush(); !sent) return sent;
               throw std::runtime_error("too late");
             })),
       route("/split", handler([](http::Exchange& ex) {
               const http::Field f{"X", "a\r\nSet-Cookie: b"};
               return ex.respond(200, "text/plain", "x", {&f, 1});
             }))},
      std::move(options));
  HttpClient c(server.port());
  for (const std::string path : {"/throw", "/int", "/throw"}) {
    const auto a = c.ask(get(path));
    REQUIRE(a.has_value());
    CHECK(a->status == 500);
    const auto b = c.ask(get("/"));
    REQUIRE(b.has_value());
    CHECK(b->status == 200);
  }
  CHECK(panics.value() == 3);
  // Begun and then lost: the client can tell, since the last chunk is missing.
  CHECK_FALSE(c.ask(get("/late")).has_value());
  CHECK(c.rest().find("\r\n0\r\n") == std::string::npos);
  HttpClient d(server.port());
  const auto split = d.ask(get("/split"));
  REQUIRE(split.has_value());
  CHECK(split->status == 500);
  CHECK(split->field("Set-Cookie").empty());
  (void)server.stop(std::chrono::seconds(5));
  CHECK(log.holds("handler of /throw threw: std::runtime_error: oops; thrown at:\n"));
  CHECK(log.holds("handler of /int threw: exception of type int; thrown at:\n"));
}

TEST_CASE("stop: running requests finish, idle connections close, stragglers are cut", "[integration][http]") {
  std::atomic<int> running{0};
  std::atomic<bool> go{false};
  const auto slow = handler([&](http::Exchange& ex) -> Result<void> {
    ++running;
    for (int i = 0; i < 5000 && !go; ++i) (void)runtime::sleep_for(1ms);
    return ex.respond(200, "text/plain", "finished");
  });
  SECTION("finishes") {
    HttpServer server({route("/", hello()), route("/slow", slow)});
    HttpClient idle(server.port());
    REQUIRE(idle.ask(get("/")).has_value());
    HttpClient busy(server.port());
    busy.send(get("/slow"));
    REQUIRE(eventually([&] { return running == 1; }));
    std::size_t cut = 99;
    std::thread stopper([&] { cut = server.stop(10s); });
    CHECK(idle.wait_end());
    go = true;
    const auto a = busy.receive();
    stopper.join();
    REQUIRE(a.has_value());
    CHECK(a->body == "finished");
    CHECK(cut == 0);
    CHECK(busy.wait_end());
    CHECK(server.server().connections() == 0);
    CHECK(server.listener().connections() == 0);
  }
  SECTION("is cut at the deadline") {
    HttpServer server({route("/body", handler([&](http::Exchange& ex) -> Result<void> {
                               if (const auto sent = ex.begin({}); !sent) return sent;
                               if (const auto sent = ex.write("begun"); !sent) return sent;
                               if (const auto sent = ex.flush(); !sent) return sent;
                               while (true)
                                 if (const auto piece = ex.read_body(); !piece) return fail(piece.error());
                             }))});
    HttpClient hanging(server.port());
    hanging.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx");
    REQUIRE(hanging.more());  // it is being answered
    CHECK(server.stop(100ms) == 1);
    CHECK_FALSE(hanging.receive().has_value());
  }
  SECTION("is cut at the deadline, before its answer began") {
    HttpServer server({route("/body", handler([&](http::Exchange& ex) -> Result<void> {
                               ++running;
                               while (true)
                                 if (const auto piece = ex.read_body(); !piece) return fail(piece.error());
                             }))});
    HttpClient hanging(server.port());
    hanging.send("POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nx");
    REQUIRE(eventually([&] { return running == 1; }));
    CHECK(server.stop(100ms) == 1);
    // No answer, or that another server may be asked: whichever comes first, the socket's end or the handler's.
    const auto told = hanging.receive();
    CHECK((!told || told->status == 503));
    CHECK(hanging.wait_end());
  }
}

TEST_CASE("many connections, idle between their requests", "[integration][http]") {
  metric::Registry registry;
  http::ServerOptions options;
  options.metrics.idle =
      &registry.gauge(registry.family({.name = "test_idle", .help = "x", .type = metric::Type::gauge}));
  options.metrics.active =
      &registry.gauge(registry.family({.name = "test_active", .help = "x", .type = metric::Type::gauge}));
  HttpServer server({route("/", hello())}, options);
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 200; ++i) clients.push_back(std::make_unique<HttpClient>(server.port()));
  for (int round = 0; round < 5; ++round) {
    for (auto& c : clients) c->send(get("/"));
    int right = 0;
    for (auto& c : clients) {
      const auto a = c->receive();
      right += a && a->body == "hello" ? 1 : 0;
    }
    CHECK(right == 200);
  }
  // None of them holds a fiber or a buffer now.
  CHECK(eventually([&] { return options.metrics.idle->value() == 200 && options.metrics.active->value() == 0; }));
  clients.clear();
  CHECK(eventually([&] { return server.server().connections() == 0; }));
  CHECK(options.metrics.idle->value() == 0);
}
