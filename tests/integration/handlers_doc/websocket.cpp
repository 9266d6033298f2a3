// docs/handlers.md: WebSockets and server-sent events.
#include <algorithm>
#include <catch2/catch.hpp>
#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include "core/http/event_stream.hpp"
#include "core/http/websocket/websocket.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/mutex.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/websocket_client.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

namespace {

class ChatRoom {
 public:
  /// One member, as long as it stays.
  Result<void> join(http::WebSocket& socket) {
    sync::Channel<std::string> mail(32);  // what waits for it: who does not keep up misses some, and stops nobody
    enter(mail);
    sync::WaitGroup writer;
    Result<void> done = writer.go("chat writer", [&] {
      for (const std::string& line : mail)
        if (!socket.write_text(line)) break;
    });
    http::WebSocketMessage message;
    while (done && socket.read(message).value_or(false)) say(message.data);  // until it leaves, or the server stops
    leave(mail);                                                             // from here on nobody sends to it
    (void)mail.close();
    writer.wait();
    return done;
  }

 private:
  void enter(sync::Channel<std::string>& mail) {
    const std::lock_guard held(mutex_);
    members_.push_back(&mail);
  }
  void leave(sync::Channel<std::string>& mail) {
    const std::lock_guard held(mutex_);
    members_.erase(std::find(members_.begin(), members_.end(), &mail));
  }
  void say(const std::string& line) {
    const std::lock_guard held(mutex_);
    for (sync::Channel<std::string>* const mail : members_) (void)mail->try_send(std::string(line));
  }
  sync::Mutex mutex_;
  std::vector<sync::Channel<std::string>*> members_;
};

std::shared_ptr<http::Handler> chat(ChatRoom& room) {
  const auto rules = http::WebSocketRules::make({"same", "https://*.example.com"}, {});  // who may open it
  http::WebSocketOptions options;
  options.message_size = 4096;
  return http::make_websocket_handler(*rules, options, [&](http::WebSocket& socket) { return room.join(socket); });
}

Result<void> ticks(http::Exchange& exchange, sync::Channel<int>& source) {
  const auto events = exchange.events({.heartbeat = 15s});
  if (!events || *events == nullptr) return as_result(error_of(events));
  for (;;) {
    const auto tick = (*events)->wait([&](const context::Context& ctx) { return source.receive(ctx); });
    if (!tick) return {};  // the client has left, the server stops, or there is no more
    if (const auto sent = (*events)->send({.data = std::to_string(*tick), .event = "tick"}); !sent) return sent;
  }
}

}  // namespace

TEST_CASE("docs/handlers.md: the chat room", "[integration][docs][websocket]") {
  using namespace fiberd::test;
  ChatRoom room;
  HttpServer server({{.spec = {.path = "/chat"}, .handler = chat(room)}});
  WebSocketClient first(server.port());
  WebSocketClient second(server.port());
  REQUIRE(first.open("/chat", "Origin: http://a.example\r\n") != "");
  // Whether it has entered is seen by what it hears.
  REQUIRE(first.send(text_frame("hello?")));
  CHECK(first.next().value_or(WebSocketFrame{}).payload == "hello?");
  REQUIRE(second.open("/chat", "Origin: https://www.example.com\r\n") != "");
  REQUIRE(second.send(text_frame("hi")));
  CHECK(second.next().value_or(WebSocketFrame{}).payload == "hi");
  CHECK(first.next().value_or(WebSocketFrame{}).payload == "hi");
  REQUIRE(second.send(close_frame(1000)));
  CHECK(second.conversation() == "close:1000");
  REQUIRE(first.send(text_frame("alone")));
  CHECK(first.next().value_or(WebSocketFrame{}).payload == "alone");
  REQUIRE(first.send(text_frame(std::string(4097, 'x'))));
  CHECK(first.conversation() == "close:1009");
  WebSocketClient evil(server.port());
  CHECK(evil.open("/chat", "Origin: https://evil.example\r\n") == "");
}

TEST_CASE("docs/handlers.md: server-sent events", "[integration][docs][events]") {
  using namespace fiberd::test;
  sync::Channel<int> source(4);
  HttpServer server({route("/ticks", handler([&](http::Exchange& exchange) { return ticks(exchange, source); }))});
  HttpClient client(server.port());
  REQUIRE(client.send(get("/ticks")));
  server.runtime().run([&] {
    for (int i = 1; i != 4; ++i) (void)source.send(i);
    (void)source.close();
  });
  CHECK(client.receive().value_or(Answer{}).body ==
        ":\n\nevent: tick\ndata: 1\n\nevent: tick\ndata: 2\n\nevent: tick\ndata: 3\n\n");
}
