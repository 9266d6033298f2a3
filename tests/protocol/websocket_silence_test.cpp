// Whose time it is, on virtual time: a client is not silent while nobody reads, and whoever never pauses does not make
// his reader miss that he was called off.
#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "core/http/websocket/websocket.hpp"
#include "core/runtime/runtime.hpp"
#include "tests/support/memory_stream.hpp"
#include "tests/support/seeds.hpp"
#include "tests/support/websocket_client.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

/// Reads a message, works on it for longer than anybody may be silent, and sends back the next one.
Result<void> work(http::WebSocket& socket) {
  http::WebSocketMessage message;
  if (const Result<bool> more = socket.read(message); !more || !*more) return as_result(error_of(more));
  (void)runtime::sleep_for(10min);
  if (const Result<bool> more = socket.read(message); !more || !*more) return as_result(error_of(more));
  return socket.write(message.kind, message.data);
}

bool comes(MemoryClient& client, std::string_view text) {
  while (client.rest().find(text) == std::string::npos)
    if (!client.more()) return false;
  return true;
}

template <class Fn, class Talk>
void with_handler(std::uint64_t seed, Fn&& fn, const MemoryFaults& faults, Talk&& talk) {
  auto handler = http::make_websocket_handler(*http::WebSocketRules::make({}, {}), {}, std::forward<Fn>(fn));
  auto server = http::Server::make({}, {route("/", std::move(handler))});
  invariant(server.has_value(), "no server");
  const auto link = std::make_shared<MemoryStream::Link>(faults, seed);
  (*server)->serve(std::make_unique<MemoryStream>(link));
  {
    MemoryClient client(link);
    talk(client);
  }
  const std::atomic<std::int64_t> until{Deadline::in(1h).ns()};
  (void)(*server)->stop(until);
}

const std::string kEcho = std::string("\x81\x05") + "later";  // NOLINT(cert-err58-cpp)

}  // namespace

TEST_CASE("websocket: what came while nobody read is no silence", "[protocol][websocket][simulation]") {
  for_each_simulation(10, [&](std::uint64_t seed) {
    with_handler(seed, work, {}, [](MemoryClient& client) {
      (void)client.send(websocket_request("/") + text_frame("first"));
      (void)runtime::sleep_for(1min);  // not into the same read
      (void)client.send(text_frame("later"));
      invariant(comes(client, kEcho), "the second message was not read");
    });
  });
}

TEST_CASE("websocket: a client is asked before it is called silent", "[protocol][websocket][simulation]") {
  for_each_simulation(10, [&](std::uint64_t seed) {
    with_handler(seed, work, {}, [](MemoryClient& client) {
      (void)client.send(websocket_request("/") + text_frame("first"));
      invariant(comes(client, std::string_view("\x89\0", 2)), "no ping");
      (void)runtime::sleep_for(40s);
      (void)client.send(text_frame("later"));
      invariant(comes(client, kEcho), "the second message was not read");
    });
  });
}

TEST_CASE("websocket: who never pauses is left all the same when his reader is called off",
          "[protocol][websocket][simulation]") {
  std::string pongs;
  for (int i = 0; i < 4000; ++i) pongs += frame(kFin | kPongFrame, "still here");
  for_each_simulation(4, [&](std::uint64_t seed) {
    std::error_code error;
    const auto reads = [&](http::WebSocket& socket) -> Result<void> {
      const context::Cancelable stop = context::with_cancel(socket.context());
      const auto later = runtime::spawn("calls off", [cancel = stop.cancel] { cancel(); });
      if (!later) return later;
      http::WebSocketMessage message;
      error = error_of(socket.read(stop.context, message));
      return {};
    };
    MemoryFaults faults;
    faults.most_read = 4;
    faults.room = 1U << 20U;
    with_handler(seed, reads, faults, [&](MemoryClient& client) {
      (void)client.send(websocket_request("/") + pongs + close_frame(1000));
      while (client.more()) {
      }
    });
    invariant(error == context::errc::canceled, "it was read to the client's end: " + error.message());
  });
}

TEST_CASE("websocket: a Close that could not be sent was none", "[protocol][websocket][simulation]") {
  for_each_simulation(4, [&](std::uint64_t seed) {
    unsigned code = 0;
    const auto writes = [&](http::WebSocket& socket) -> Result<void> {
      while (socket.write_text("news")) (void)runtime::sleep_for(1s);
      (void)socket.close(http::WebSocket::kInternal);
      http::WebSocketMessage message;
      (void)socket.read(message);
      code = socket.close_code();
      return {};
    };
    with_handler(seed, writes, {}, [&](MemoryClient& client) {
      (void)client.send(websocket_request("/"));
      invariant(comes(client, "news"), "no message");
      client.reset();
    });
    invariant(code == http::WebSocket::kLost, "it is told as " + std::to_string(code));
  });
}
