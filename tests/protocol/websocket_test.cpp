// A WebSocket's life behind its handshake: who waits, who is too slow, who closes, and what a stop does.
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "core/context/cancel_scope.hpp"
#include "core/context/waits.hpp"
#include "core/http/errc.hpp"
#include "core/http/websocket/metrics.hpp"
#include "core/http/websocket/websocket.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/websocket_client.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;
using http::WebSocket, http::WebSocketMessage;
using Kind = WebSocketMessage::Kind;

namespace {

http::WebSocketRules any() { return *http::WebSocketRules::make({}, {}); }

/// Without any clock of its own.
http::WebSocketOptions patient() {
  http::WebSocketOptions options;
  options.ping_interval = options.idle_timeout = 0s;
  options.message_timeout = options.close_timeout = 1h;
  return options;
}

template <class F>
http::Route socket_route(F&& fn, const http::WebSocketOptions& options = patient()) {
  return route("/", http::make_websocket_handler(any(), options, std::forward<F>(fn)));
}
http::Route echo_route(const http::WebSocketOptions& options = patient()) {
  return route("/", http::make_websocket_echo_handler(any(), options));
}

/// What a handler saw, for the main thread.
struct Seen {
  std::atomic<int> reads{0};
  std::atomic<int> error{-1};
  std::atomic<unsigned> code{0};
  std::atomic<bool> over{false};
  Result<void> all(WebSocket& socket) {
    WebSocketMessage message;
    for (;;) {
      const Result<bool> more = socket.read(message);
      if (more && *more) {
        ++reads;
        continue;
      }
      error = more ? 0 : more.error().default_error_condition().value();
      code = socket.close_code();
      over = true;
      return as_result(error_of(more));
    }
  }
};

/// The kernel answers with a reset from now on.
void reset(HttpClient& client) {
  const linger now{1, 0};
  (void)::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &now, sizeof now);
  const int nothing = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  (void)::dup3(nothing, client.fd(), O_CLOEXEC);
  ::close(nothing);
}

}  // namespace

TEST_CASE("websocket: a client that breaks off, at each point", "[protocol][websocket]") {
  const std::string whole =
      frame(kTextFrame, "hel") + frame(kFin | kPingFrame, "p") + frame(kFin | kContinuation, "lo");
  for (std::size_t cut = 0; cut <= whole.size(); cut += 3) {
    for (const bool hard : {false, true}) {
      INFO("behind " << cut << " bytes, by " << (hard ? "a reset" : "a FIN"));
      Seen seen;
      HttpServer server({socket_route([&](WebSocket& socket) { return seen.all(socket); })});
      WebSocketClient client(server.port());
      REQUIRE(client.open() != "");
      REQUIRE(client.send(whole.substr(0, cut)));
      if (hard)
        reset(client);
      else
        client.finish_sending();
      CHECK(eventually([&] { return seen.over.load(); }));
      CHECK(seen.code == WebSocket::kLost);
      CHECK(seen.error != 0);
      CHECK(eventually([&] { return server.server().connections() == 0; }));
    }
  }
}

TEST_CASE("websocket: the client's Close and its FIN together are an end in order", "[protocol][websocket]") {
  Seen seen;
  HttpServer server({socket_route([&](WebSocket& socket) { return seen.all(socket); })});
  WebSocketClient client(server.port());
  REQUIRE(client.open() != "");
  REQUIRE(client.send(text_frame("last") + close_frame(1001)));
  client.finish_sending();
  CHECK(client.conversation() == "close:1001");
  CHECK(eventually([&] { return seen.over.load(); }));
  CHECK(seen.reads == 1);
  CHECK(seen.error == 0);
  CHECK(seen.code == 1001);
}

TEST_CASE("websocket: a silent client is pinged, and given up when it does not answer", "[protocol][websocket]") {
  http::WebSocketOptions options = patient();
  options.ping_interval = 20ms;
  Seen seen;
  SECTION("one that answers stays") {
    HttpServer server({socket_route([&](WebSocket& socket) { return seen.all(socket); }, options)});
    WebSocketClient client(server.port());
    REQUIRE(client.open() != "");
    for (int i = 0; i < 5; ++i) {
      REQUIRE(client.next().value_or(WebSocketFrame{}).opcode() == kPingFrame);
      REQUIRE(client.send(frame(kFin | kPongFrame, "")));
    }
    REQUIRE(client.send(text_frame("a") + close_frame(1000)));
    CHECK(client.conversation().ends_with("close:1000"));
    CHECK(seen.reads == 1);
  }
  SECTION("one that does not goes") {
    options.idle_timeout = 200ms;
    options.close_timeout = 50ms;
    HttpServer server({socket_route([&](WebSocket& socket) { return seen.all(socket); }, options)});
    WebSocketClient client(server.port());
    REQUIRE(client.open() != "");
    CHECK(client.conversation().ends_with("ping: close:1001"));
    CHECK(eventually([&] { return seen.over.load(); }));
    CHECK(seen.error == static_cast<int>(std::errc::timed_out));
    CHECK(seen.code == 1001);
  }
}

TEST_CASE("websocket: a message that drips is given up", "[protocol][websocket]") {
  http::WebSocketOptions options = patient();
  options.message_timeout = 100ms;
  options.close_timeout = 20ms;
  Seen seen;
  HttpServer server({socket_route([&](WebSocket& socket) { return seen.all(socket); }, options)});
  WebSocketClient client(server.port());
  REQUIRE(client.open() != "");
  REQUIRE(client.send(frame(kTextFrame, "a")));
  std::thread drip([&] {
    while (!seen.over && client.send(frame(kContinuation, "b"))) std::this_thread::sleep_for(5ms);
  });
  CHECK(client.conversation() == "close:1008");
  drip.join();
  CHECK(eventually([&] { return seen.over.load(); }));
  CHECK(seen.error == static_cast<int>(std::errc::timed_out));
}

TEST_CASE("websocket: a client that does not read: what waits for it is bounded, then it goes",
          "[protocol][websocket]") {
  std::atomic<std::uint64_t> written{0};
  std::atomic<int> error{0};
  http::ServerOptions limits;
  limits.timeouts.write = 200ms;
  http::WebSocketOptions options = patient();
  HttpServer server({socket_route(
                        [&](WebSocket& socket) -> Result<void> {
                          const std::string much(64 * 1024, 'm');
                          for (;;) {
                            if (const auto sent = socket.write_binary(much); !sent) {
                              error = sent.error().default_error_condition().value();
                              return sent;
                            }
                            written += much.size();
                          }
                        },
                        options)},
                    limits);
  WebSocketClient client(server.port(), 4096);
  REQUIRE(client.open() != "");
  CHECK(eventually([&] { return error != 0; }));
  CHECK(error == static_cast<int>(std::errc::timed_out));
  CHECK(written < 16U << 20U);  // the kernel's buffers
  CHECK(eventually([&] { return server.server().connections() == 0; }));
}

TEST_CASE("websocket: a flood of pings by a client that does not read stops its reader", "[protocol][websocket]") {
  Seen seen;
  http::ServerOptions limits;
  limits.timeouts.write = 300ms;
  HttpServer server({socket_route([&](WebSocket& socket) { return seen.all(socket); })}, limits);
  WebSocketClient client(server.port(), 4096);
  REQUIRE(client.open() != "");
  std::string pings;
  for (int i = 0; i < 1000; ++i) pings += frame(kFin | kPingFrame, std::string(125, 'p'));
  std::size_t sent = 0;
  while (!seen.over && client.send(pings)) sent += pings.size();
  CHECK(eventually([&] { return seen.over.load(); }));
  CHECK(seen.error == static_cast<int>(std::errc::timed_out));
  CHECK(sent < 64U << 20U);
  CHECK(eventually([&] { return server.server().connections() == 0; }));
}

TEST_CASE("websocket: two fibers, one reads and one writes, and pings come in between", "[protocol][websocket][two]") {
  const auto by_two = [](WebSocket& socket) -> Result<void> {
    sync::Channel<std::string> messages(4);
    sync::WaitGroup reader;
    const Result<void> spawned = reader.go("reads", [&] {
      WebSocketMessage message;
      for (;;) {
        const Result<bool> more = socket.read(message);
        if (!more || !*more) break;
        if (!messages.send(socket.context(), std::move(message.data))) break;
        message = {};
      }
      (void)messages.close();
    });
    if (!spawned) return spawned;
    Result<void> sent;
    while (auto message = messages.receive())
      if (sent) sent = socket.write_text(*message);
    reader.wait();
    return {};
  };
  HttpServer server({socket_route(by_two)});
  std::vector<std::thread> clients;
  std::atomic<int> wrong{0};
  for (int c = 0; c < 4; ++c)
    clients.emplace_back([&, c] {
      WebSocketClient client(server.port());
      if (client.open().empty()) ++wrong;
      const std::string body(static_cast<std::size_t>(c) * 9'000 + 10, static_cast<char>('a' + c));
      std::thread sender([&] {
        for (int i = 0; i < 50; ++i)
          (void)client.send(text_frame(body + std::to_string(i)) + frame(kFin | kPingFrame, std::to_string(i)));
      });
      int texts = 0;
      int pongs = 0;
      std::string text;
      while (texts < 50 || pongs < 50) {
        const auto f = client.next();
        if (!f) break;
        if (f->opcode() == kPongFrame) {
          if (f->payload != std::to_string(pongs++)) ++wrong;
          continue;
        }
        text += f->payload;
        if ((f->first & kFin) == 0) continue;
        if (text != body + std::to_string(texts++)) ++wrong;
        text.clear();
      }
      sender.join();
      if (texts != 50 || pongs != 50) ++wrong;
      (void)client.send(close_frame(1000));
      if (client.conversation() != "close:1000") ++wrong;
    });
  for (std::thread& t : clients) t.join();
  CHECK(wrong == 0);
}

TEST_CASE("websocket: several writers: no message is torn", "[protocol][websocket][two]") {
  const auto many = [](WebSocket& socket) -> Result<void> {
    sync::WaitGroup writers;
    for (char who = 'a'; who != 'e'; ++who)
      if (const auto spawned = writers.go("writes",
                                          [&socket, who] {
                                            for (int i = 0; i < 20; ++i)
                                              (void)socket.write_text(std::string(40'000, who));
                                          });
          !spawned)
        return spawned;
    writers.wait();
    return {};
  };
  HttpServer server({socket_route(many)});
  WebSocketClient client(server.port());
  REQUIRE(client.open() != "");
  std::string message;
  int messages = 0;
  for (;;) {
    const auto f = client.next();
    REQUIRE(f);
    if (f->opcode() == kCloseFrame) {
      CHECK(f->code() == 1000);
      break;
    }
    CHECK((f->opcode() == kContinuation) == !message.empty());
    message += f->payload;
    if ((f->first & kFin) == 0) continue;
    CHECK(message == std::string(40'000, message[0]));
    message.clear();
    ++messages;
  }
  CHECK(messages == 80);
  REQUIRE(client.send(close_frame(1000)));
}

TEST_CASE("websocket: a read that its context ends between messages has changed nothing", "[protocol][websocket]") {
  std::atomic<int> given_up{0};
  std::atomic<bool> right{true};
  HttpServer server({socket_route([&](WebSocket& socket) -> Result<void> {
    WebSocketMessage message;
    for (int messages = 0; messages < 3;) {
      const context::CancelScope soon(context::with_timeout(socket.context(), 5ms));
      const Result<bool> more = socket.read(soon, message);
      if (more && *more) {
        ++messages;
        if (const auto sent = socket.write(message.kind, message.data); !sent) return sent;
      } else if (more || more.error() != context::errc::deadline_exceeded) {
        right = false;
        return {};
      } else {
        ++given_up;
      }
    }
    return {};
  })});
  WebSocketClient client(server.port());
  REQUIRE(client.open() != "");
  for (int i = 0; i < 3; ++i) {
    const int before = given_up;
    REQUIRE(eventually([&] { return given_up > before + 1; }));
    // Half of a frame's head, and a ping, which leaves the codec in the middle of its loop.
    REQUIRE(client.send(frame(kFin | kPingFrame, "p")));
    REQUIRE(client.next().value_or(WebSocketFrame{}).opcode() == kPongFrame);
    const int again = given_up;
    const std::string text = text_frame("hello");
    REQUIRE(client.send(text.substr(0, 1)));
    REQUIRE(eventually([&] { return given_up > again + 1; }));
    REQUIRE(client.send(text.substr(1)));
    CHECK(client.next().value_or(WebSocketFrame{}).payload == "hello");
  }
  CHECK(client.next().value_or(WebSocketFrame{}).code() == 1000);
  CHECK(right);
  REQUIRE(client.send(close_frame(1000)));
}

TEST_CASE("websocket: a read that its context ends in a message ends the WebSocket", "[protocol][websocket]") {
  Seen seen;
  HttpServer server({socket_route([&](WebSocket& socket) -> Result<void> {
    WebSocketMessage message;
    const context::CancelScope soon(context::with_timeout(socket.context(), 100ms));
    const Result<bool> more = socket.read(soon, message);
    seen.error = more ? 0 : more.error() == context::errc::deadline_exceeded ? 1 : 2;
    seen.over = true;
    return {};
  })});
  WebSocketClient client(server.port());
  REQUIRE(client.open() != "");
  REQUIRE(client.send(frame(kTextFrame, "begun")));
  CHECK(client.next().value_or(WebSocketFrame{}).code() == 1011);
  REQUIRE(client.send(close_frame(1011)));
  CHECK(eventually([&] { return seen.over.load(); }));
  CHECK(seen.error == 1);
}

TEST_CASE("websocket: who closes, and with what", "[protocol][websocket]") {
  std::atomic<unsigned> code{0};
  std::atomic<int> refused{0};
  const auto serve = [&](auto&& fn) { return socket_route(std::forward<decltype(fn)>(fn)); };
  SECTION("the handler returns") {
    HttpServer server({serve([](WebSocket&) -> Result<void> { return {}; })});
    WebSocketClient client(server.port());
    REQUIRE(client.open() != "");
    CHECK(client.next().value_or(WebSocketFrame{}).code() == 1000);
    REQUIRE(client.send(text_frame("crossing") + close_frame(1000)));
    CHECK(client.conversation() == "");
    CHECK(client.ended());
  }
  SECTION("the handler closes, with a reason, and what may not be said is refused") {
    HttpServer server({serve([&](WebSocket& socket) -> Result<void> {
      for (const unsigned bad : {0U, 999U, 1004U, 1005U, 1006U, 1015U, 2999U, 5000U})
        if (socket.close(static_cast<std::uint16_t>(bad))) ++refused;
      if (socket.close(1000, std::string(124, 'x'))) ++refused;
      if (socket.close(1000, "\xff")) ++refused;
      if (socket.write_text("\xff")) ++refused;
      if (const auto closed = socket.close(4000, "enough"); !closed) return closed;
      if (socket.write_text("late")) ++refused;
      WebSocketMessage message;
      while (socket.read(message).value_or(false)) {
      }
      code = socket.close_code();
      return {};
    })});
    WebSocketClient client(server.port());
    REQUIRE(client.open() != "");
    const WebSocketFrame bye = client.next().value_or(WebSocketFrame{});
    CHECK(bye.code() == 4000);
    CHECK(bye.payload.substr(2) == "enough");
    REQUIRE(client.send(close_frame(1000)));
    CHECK(client.conversation() == "");
    CHECK(refused == 0);
    CHECK(eventually([&] { return code == 4000; }));
  }
  SECTION("the handler fails") {
    HttpServer server({serve([](WebSocket&) -> Result<void> { return fail(std::errc::io_error); })});
    WebSocketClient client(server.port());
    REQUIRE(client.open() != "");
    CHECK(client.next().value_or(WebSocketFrame{}).code() == 1011);
    REQUIRE(client.send(close_frame(1000)));
  }
  SECTION("the handler throws") {
    HttpServer server({serve([](WebSocket&) -> Result<void> { throw std::runtime_error("of a test"); })});
    WebSocketClient client(server.port());
    REQUIRE(client.open() != "");
    CHECK(client.next().value_or(WebSocketFrame{}).code() == 1011);
    REQUIRE(client.send(close_frame(1000)));
  }
  SECTION("another fiber closes while one reads, and the client does not answer") {
    http::WebSocketOptions options = patient();
    options.close_timeout = 50ms;
    HttpServer server({socket_route(
        [&](WebSocket& socket) -> Result<void> {
          sync::WaitGroup reader;
          if (const auto spawned = reader.go("reads",
                                             [&] {
                                               WebSocketMessage message;
                                               while (socket.read(message).value_or(false)) {
                                               }
                                               code = socket.close_code();
                                             });
              !spawned)
            return spawned;
          if (const auto slept = context::sleep(socket.context(), 20ms); !slept) return slept;
          const auto closed = socket.close(1000);
          reader.wait();
          return closed;
        },
        options)});
    WebSocketClient client(server.port());
    REQUIRE(client.open() != "");
    CHECK(client.conversation() == "close:1000");
    CHECK(eventually([&] { return code == 1000; }));
  }
}

TEST_CASE("websocket: a stop says 1001 to whoever reads, writes or waits, and cuts nobody",
          "[protocol][websocket][stop]") {
  std::atomic<int> there{0};
  std::atomic<int> right{0};
  const auto waits = [&](WebSocket& socket) -> Result<void> {
    ++there;
    (void)context::sleep(socket.context(), 1h);
    if (socket.context().cause() == http::errc::draining) ++right;
    return {};
  };
  const auto reads = [&](WebSocket& socket) -> Result<void> {
    ++there;
    WebSocketMessage message;
    const Result<bool> more = socket.read(message);
    if (more && !*more && socket.close_code() == 1001) ++right;
    return {};
  };
  const std::string much(8U << 20U, 'm');
  const auto writes = [&](WebSocket& socket) -> Result<void> {
    ++there;
    if (socket.write_text(much)) ++right;
    return {};
  };
  HttpServer server({{.spec = {.path = "/waits"}, .handler = http::make_websocket_handler(any(), patient(), waits)},
                     {.spec = {.path = "/reads"}, .handler = http::make_websocket_handler(any(), patient(), reads)},
                     {.spec = {.path = "/writes"}, .handler = http::make_websocket_handler(any(), patient(), writes)}});
  WebSocketClient waiting(server.port());
  WebSocketClient reading(server.port());
  WebSocketClient writing(server.port());
  REQUIRE(waiting.open("/waits") != "");
  REQUIRE(reading.open("/reads") != "");
  REQUIRE(writing.open("/writes") != "");
  REQUIRE(eventually([&] { return there == 3; }));
  REQUIRE(reading.send(frame(kTextFrame, "in the middle of a message")));
  std::string message = writing.next().value_or(WebSocketFrame{}).payload;  // it has begun
  std::size_t cut = 1;
  std::thread stopping([&] { cut = server.stop(1h); });
  CHECK(waiting.next().value_or(WebSocketFrame{}).code() == 1001);
  CHECK(reading.next().value_or(WebSocketFrame{}).code() == 1001);
  std::optional<WebSocketFrame> f;
  while ((f = writing.next()) && f->opcode() != kCloseFrame) message += f->payload;
  CHECK(message.size() == much.size());
  CHECK((message == much));
  CHECK(f.value_or(WebSocketFrame{}).code() == 1001);
  for (WebSocketClient* const client : {&waiting, &reading, &writing}) REQUIRE(client->send(close_frame(1001)));
  stopping.join();
  CHECK(cut == 0);
  CHECK(right == 3);
}

TEST_CASE("websocket: a stop waits for the Close of a silent client as long as is said, and the hard end cuts",
          "[protocol][websocket][stop]") {
  http::WebSocketOptions options = patient();
  const bool hard = GENERATE(false, true);
  if (!hard) options.close_timeout = 50ms;
  HttpServer server({echo_route(options)});
  WebSocketClient client(server.port());
  REQUIRE(client.open() != "");
  CHECK(server.stop(hard ? 100ms : 1h) == (hard ? 1 : 0));
  CHECK(client.conversation() == "close:1001");
}

TEST_CASE("websocket: a long text is looked at to its end, and others run meanwhile", "[protocol][websocket]") {
  // Where it is cut to be looked at, a character of four bytes stands across each of its places.
  std::string long_text;
  for (int at = 0; at < 4; ++at)
    long_text += std::string(262'143 - long_text.size() % 262'144, 'a') + "\xf0\x9f\x98\x80";
  std::atomic<bool> whole{false};
  std::atomic<int> refused{0};
  std::atomic<bool> over{false};
  std::atomic<unsigned> turns{0};
  std::atomic<unsigned> turns_meanwhile{0};
  HttpServer server({socket_route([&](WebSocket& socket) -> Result<void> {
                      const Result<void> other = runtime::spawn("turns", [&] {
                        while (!over) {
                          ++turns;
                          runtime::yield();
                        }
                      });
                      if (!other) return other;
                      runtime::yield();
                      const unsigned before = turns;
                      refused = socket.write(Kind::text, long_text + "\xff").error().default_error_condition().value();
                      turns_meanwhile = turns - before;
                      whole = socket.write(Kind::text, long_text).has_value();
                      over = true;
                      return socket.close(1000);
                    })},
                    {}, 1);
  WebSocketClient client(server.port());
  REQUIRE(client.open() != "");
  std::string got;
  unsigned closed = 0;
  while (const auto f = client.next()) {
    if (f->opcode() == kCloseFrame) closed = f->code();
    if (f->opcode() < 3) got += f->payload;
  }
  CHECK(closed == 1000);
  CHECK(got == long_text);
  CHECK(whole);
  CHECK(refused == static_cast<int>(std::errc::invalid_argument));
  CHECK(turns_meanwhile >= 3);
  over = true;
}

TEST_CASE("websocket: what is counted", "[protocol][websocket]") {
  metric::Registry registry;
  metric::Family& gauge = registry.family({.name = "open", .help = "h", .type = metric::Type::gauge, .labels = {}});
  metric::Family& counter =
      registry.family({.name = "n", .help = "h", .type = metric::Type::counter, .labels = {"what"}});
  metric::Family& closed =
      registry.family({.name = "closed", .help = "h", .type = metric::Type::counter, .labels = {"listener", "code"}});
  metric::Leases leases(registry);
  http::WebSocketMetrics m;
  m.open = &leases.gauge(gauge, {});
  m.opened = &leases.counter(counter, {"opened"});
  m.received_messages = &leases.counter(counter, {"received"});
  m.sent_messages = &leases.counter(counter, {"sent"});
  m.received_bytes = &leases.counter(counter, {"received_bytes"});
  m.sent_bytes = &leases.counter(counter, {"sent_bytes"});
  metric::LateCounter too_big(registry, closed, "l", "1009");
  metric::LateCounter other(registry, closed, "l", "other");
  metric::LateCounter key(registry, closed, "l", "key");
  m.closed[http::close_index(1009)] = &too_big;
  m.closed[http::close_index(4000)] = &other;
  m.refused[static_cast<std::size_t>(http::WebSocketRules::Verdict::key)] = &key;
  http::ServerOptions options;
  options.metrics.websocket = &m;
  http::WebSocketOptions small = patient();
  small.message_size = 10;
  HttpServer server({echo_route(small)}, options);
  {
    WebSocketClient big(server.port());
    WebSocketClient four(server.port());
    REQUIRE(big.open() != "");
    REQUIRE(four.open() != "");
    CHECK(eventually([&] { return m.open->value() == 2; }));
    REQUIRE(big.send(text_frame("hello") + text_frame("hello world")));
    CHECK(big.conversation() == "text:hello close:1009");
    REQUIRE(four.send(close_frame(4000)));
    CHECK(four.conversation() == "close:4000");
    HttpClient none(server.port());
    CHECK(none.ask(get("/", "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Version: 13\r\n"))
              .value_or(Answer{})
              .status == 400);
  }
  CHECK(eventually([&] { return server.server().connections() == 0; }));
  CHECK(m.open->value() == 0);
  CHECK(m.opened->value() == 2);
  CHECK(m.received_messages->value() == 1);
  CHECK(m.sent_messages->value() == 1);
  CHECK(m.received_bytes->value() == 5);
  CHECK(m.sent_bytes->value() == 5);
  CHECK(too_big.value() == 1);
  CHECK(other.value() == 1);
  CHECK(key.value() == 1);
}
