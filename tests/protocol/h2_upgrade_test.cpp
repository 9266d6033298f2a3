// Extended CONNECT (RFC 8441): a WebSocket on a stream of HTTP/2, beside other streams.
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "core/http/websocket/websocket.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"
#include "tests/support/websocket_client.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::string connect(std::uint32_t stream, std::string_view path, std::string_view protocol = "websocket") {
  return http2::headers(stream,
                        {{":method", "CONNECT"},
                         {":protocol", std::string(protocol)},
                         {":scheme", "http"},
                         {":authority", "a.example"},
                         {":path", std::string(path)},
                         {"sec-websocket-version", "13"}},
                        false);
}

std::vector<http::Route> sites(const http::WebSocketOptions& options = {}) {
  return {route("/", hello()),
          route("/chat", http::make_websocket_echo_handler(*http::WebSocketRules::make({}, {}), options))};
}

const std::string kGoodbye = std::string("\x88\x02\x03\xe8");  // NOLINT(cert-err58-cpp)

}  // namespace

TEST_CASE("h2: a WebSocket on a stream, and requests beside it", "[h2][websocket]") {
  HttpServer server(sites(), http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(connect(1, "/chat") + http2::data(1, text_frame("hello"), false)));
  REQUIRE(client.until([&] { return client.so_far(1).body.size() == 7; }));
  CHECK(client.so_far(1).status == 200);
  CHECK(client.so_far(1).field("sec-websocket-accept").empty());
  CHECK(client.so_far(1).body == std::string("\x81\x05") + "hello");
  REQUIRE(client.send(http2::get(3)));
  CHECK(client.reply(3).status == 200);
  // Frames as DATA frames happen to cut them, and the client's Close with its end.
  const std::string frames = text_frame("in pieces") + close_frame(1000);
  for (const char c : frames.substr(0, frames.size() - 1)) REQUIRE(client.send(http2::data(1, {&c, 1}, false)));
  REQUIRE(client.send(http2::data(1, frames.substr(frames.size() - 1))));
  CHECK(client.reply(1).body == std::string("\x81\x05") + "hello" + "\x81\x09" + "in pieces" + kGoodbye);
  CHECK(client.so_far(1).ended);
}

TEST_CASE("h2: a WebSocket's writer waits for the stream's window, and a reset ends it", "[h2][websocket]") {
  HttpServer server(sites(), http2::h2c_options());
  http2::Client client(server.port());
  const std::string large(200'000, 'x');
  REQUIRE(client.ping());  // the server's windows are known
  REQUIRE(client.send(connect(1, "/chat")));
  const std::string message = frame(kFin | kBinaryFrame, large);
  for (std::size_t at = 0; at < message.size(); at += 16'384)
    REQUIRE(client.send(http2::data(1, message.substr(at, 16'384), false)));
  REQUIRE(client.until([&] { return client.so_far(1).body.size() == 65'535; }));
  REQUIRE(client.ping());
  CHECK(client.so_far(1).body.size() == 65'535);
  SECTION("it is opened") {
    REQUIRE(client.send(http2::window_update(1, 1'000'000) + http2::window_update(0, 1'000'000)));
    CHECK(client.until([&] { return client.so_far(1).body.size() > large.size(); }));
    REQUIRE(client.send(http2::data(1, close_frame(1000))));
    CHECK(client.reply(1).body.ends_with(kGoodbye));
  }
  SECTION("the stream is reset") {
    REQUIRE(client.send(http2::rst(1, http2::kCancel)));
    CHECK(client.ping());
  }
  client.connection().finish_sending();
  CHECK(client.until_closed());
  CHECK(eventually([&] { return server.server().connections() == 0; }));
}

TEST_CASE("h2: a time that is over is over, whatever a stream has sent", "[h2][websocket]") {
  std::atomic<int> late{-1};
  std::atomic<std::size_t> taken{0};
  const auto raw = handler([&](http::Exchange& ex) -> Result<void> {
    const Result<net::ByteStream*> bytes = ex.upgrade("websocket");
    if (!bytes) return fail(bytes.error());
    while (!(*bytes)->bytes_waiting() && !ex.context().done()) (void)runtime::sleep_for(1ms);
    std::array<std::byte, 8> room{};
    const Result<std::size_t> n = (*bytes)->read_some(room, Deadline::at(1));
    late = n ? 0 : n.error().default_error_condition().value();
    taken = (*bytes)->read_some(room).value_or(0);
    return {};
  });
  HttpServer server({route("/", raw)}, http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(connect(1, "/") + http2::data(1, "hello")));
  CHECK(client.reply(1).status == 200);
  CHECK(late == static_cast<int>(std::errc::timed_out));
  CHECK(taken == 5);
}

TEST_CASE("h2: a stop says 1001 to a WebSocket on a stream", "[h2][websocket][stop]") {
  HttpServer server(sites(), http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(connect(1, "/chat") + http2::data(1, text_frame("hello"), false)));
  REQUIRE(client.until([&] { return client.so_far(1).body.size() == 7; }));
  std::size_t cut = 1;
  std::thread stopping([&] { cut = server.stop(1h); });
  CHECK(client.until([&] { return client.so_far(1).body.ends_with(std::string("\x88\x02\x03\xe9")); }));
  REQUIRE(client.send(http2::data(1, close_frame(1001))));
  CHECK(client.until_closed());
  CHECK(client.so_far(1).ended);
  stopping.join();
  CHECK(cut == 0);
}

TEST_CASE("h2: whoever does not upgrade says no success to an extended CONNECT", "[h2][websocket]") {
  HttpServer server(sites(), http2::h2c_options());
  http2::Client client(server.port());
  // What is no handshake the WebSocket's route refuses itself; to a route that knows none its answer would be a
  // success.
  REQUIRE(client.send(connect(1, "/") + connect(3, "/chat", "something-else") + connect(5, "/nowhere")));
  CHECK(client.reply(1).status == 501);
  CHECK(client.so_far(1).body.empty());
  CHECK(client.reply(3).status == 400);
  CHECK(client.reply(5).status == 404);
  CHECK(client.ping());
}
