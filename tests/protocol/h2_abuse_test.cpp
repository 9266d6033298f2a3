// HTTP/2 under attack: what a client may make us do, and when its connection ends. Each attack is small and exact: what
// it costs under load is measured by `make attack`.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "tests/protocol/raw_site.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

/// Runs until it is told to end, whatever becomes of its client.
struct Stubborn {
  std::atomic<unsigned> running{0};
  std::atomic<unsigned> begun{0};
  std::atomic<bool> let_go{false};
  std::shared_ptr<http::Handler> make() {
    return handler([this](http::Exchange& ex) -> Result<void> {
      ++running;
      ++begun;
      while (!let_go) (void)runtime::sleep_for(1ms);
      --running;
      return ex.respond(200, "text/plain", "at last");
    });
  }
};

/// Sends `bytes` again and again until the connection ends; what GOAWAY said.
std::optional<std::uint32_t> flood(http2::Client& client, const std::string& bytes, int times = 4000) {
  for (int i = 0; i < times && client.send(bytes); ++i) {
  }
  (void)client.until([&] { return !client.goaways().empty(); });
  return client.goaway();
}
std::string many(const std::string& bytes, int times) {
  std::string all;
  for (int i = 0; i < times; ++i) all += bytes;
  return all;
}

}  // namespace

TEST_CASE("h2 abuse: no more handlers than max_streams, whatever is reset", "[h2][abuse]") {
  Stubborn stubborn;
  http::ServerOptions options = http2::h2c_options();
  options.http2.max_streams = 10;
  options.http2.glitches = 100'000;
  HttpServer server({route("/", hello()), route("/stubborn", stubborn.make())}, options);
  http2::Client client(server.port());
  std::string bytes;
  for (std::uint32_t id = 1; id < 401; id += 2) bytes += http2::get(id, "/stubborn") + http2::rst(id, http2::kCancel);
  REQUIRE(client.send(bytes));
  REQUIRE(client.ping());
  CHECK(eventually([&] { return stubborn.begun == 10; }));
  REQUIRE(client.send(http2::get(401, "/stubborn")));
  CHECK(client.reply(401).reset == http2::kRefusedStream);
  CHECK(stubborn.begun == 10);
  CHECK(stubborn.running == 10);
  // The places come back with the handlers.
  stubborn.let_go = true;
  CHECK(eventually([&] { return stubborn.running == 0; }));
  std::uint32_t id = 1001;
  const auto served = [&] {
    id += 2;
    return client.send(http2::get(id)) && client.reply(id).status == 200;
  };
  CHECK(eventually(served));
}

TEST_CASE("h2 abuse: more requests at once than were allowed", "[h2][abuse]") {
  Stubborn stubborn;
  http::ServerOptions options = http2::h2c_options();
  options.http2.max_streams = 3;
  HttpServer server({route("/stubborn", stubborn.make())}, options);
  http2::Client client(server.port());
  REQUIRE(client.until([&] { return !client.server_settings().empty(); }));
  CHECK(client.server_settings()[3] == 3);
  std::string bytes;
  for (std::uint32_t id = 1; id <= 7; id += 2) bytes += http2::get(id, "/stubborn");
  REQUIRE(client.send(bytes));
  REQUIRE(client.until([&] { return client.so_far(7).reset.has_value() || !client.goaways().empty(); }));
  CHECK(client.so_far(7).reset.value_or(http2::kRefusedStream) == http2::kRefusedStream);
  CHECK(stubborn.begun <= 3);
  stubborn.let_go = true;
}

TEST_CASE("h2 abuse: floods end with ENHANCE_YOUR_CALM", "[h2][abuse]") {
  HttpServer server({route("/", hello()), route("/echo", handler(protocol::collect))}, http2::h2c_options());
  const std::string ping = http2::frame(http2::kPing, 0, 0, "12345678");
  const std::string priority = http2::frame(http2::kPriority, 0, 1, http2::number(0, 4) + "\x10");
  const std::string body = http2::headers(1, http2::post_fields(), false);
  struct Flood {
    const char* name;
    std::string before;
    std::string bytes;
  };
  for (const Flood& row :
       {Flood{"PING", "", ping}, Flood{"SETTINGS", "", http2::settings()},
        Flood{"SETTINGS that change something", "", http2::settings(http2::setting(4, 70'000))},
        Flood{"ACKs of nothing", "", http2::frame(http2::kPing, http2::kAck, 0, "12345678")},
        Flood{"PRIORITY", "", priority},
        Flood{"PRIORITY_UPDATE", "", http2::frame(http2::kPriorityUpdate, 0, 0, http2::number(1, 4) + "u=1")},
        Flood{"WINDOW_UPDATE", "", http2::window_update(0, 1)},
        Flood{"WINDOW_UPDATE of a stream", body, http2::window_update(1, 1)},
        Flood{"empty DATA", body, http2::data(1, "", false)},
        Flood{"DATA that is all padding", body,
              http2::frame(http2::kData, http2::kPadded, 1, std::string("\x04\0\0\0\0", 5))},
        Flood{"unknown frames", "", http2::frame(0x77, 0, 0)},
        Flood{"RST_STREAM of a stream that is over", http2::get(1) + http2::rst(1, 8),
              http2::rst(1, http2::kCancel)}}) {
    INFO(row.name);
    http2::Client client(server.port());
    REQUIRE(client.send(row.before));
    CHECK(flood(client, many(row.bytes, 50), 100) == http2::kEnhanceYourCalm);
  }
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1)));
  CHECK(client.reply(1).status == 200);
}

TEST_CASE("h2 abuse: requests that are reset, and requests that make us reset", "[h2][abuse]") {
  HttpServer server({route("/", hello()), route("/echo", handler(protocol::collect))}, http2::h2c_options());
  SECTION("by the client") {
    http2::Client client(server.port());
    std::string bytes;
    for (std::uint32_t id = 1; id < 8000; id += 2)
      bytes += http2::headers(id, http2::post_fields(), false) + http2::rst(id, http2::kCancel);
    (void)client.send(bytes);
    REQUIRE(client.until([&] { return !client.goaways().empty(); }));
    CHECK(client.goaway() == http2::kEnhanceYourCalm);
  }
  SECTION("by us: a window that overflows") {
    http2::Client client(server.port());
    std::string bytes;
    for (std::uint32_t id = 1; id < 2000; id += 2)
      bytes += http2::headers(id, http2::post_fields(), false) + http2::window_update(id, 0x7fffffff);
    (void)client.send(bytes);
    REQUIRE(client.until([&] { return !client.goaways().empty(); }));
    CHECK(client.goaway() == http2::kEnhanceYourCalm);
  }
  SECTION("by us: fields that no request has") {
    http2::Client client(server.port());
    std::string bytes;
    for (std::uint32_t id = 1; id < 2000; id += 2) bytes += http2::get(id, "/", {{"connection", "close"}});
    (void)client.send(bytes);
    REQUIRE(client.until([&] { return !client.goaways().empty(); }));
    CHECK(client.goaway() == http2::kEnhanceYourCalm);
  }
}

TEST_CASE("h2 abuse: CONTINUATION without end", "[h2][abuse]") {
  HttpServer server({route("/", hello())}, http2::h2c_options());
  const std::string begin = http2::frame(http2::kHeaders, http2::kEndStream, 1, http2::block(http2::get_fields()));
  for (const std::string& more :
       {http2::field("x-a", "1"), std::string(), http2::field("x-a", std::string(16'000, 'a'))}) {
    http2::Client client(server.port());
    REQUIRE(client.send(begin));
    (void)flood(client, http2::frame(http2::kContinuation, 0, 1, more), 1000);
    REQUIRE(client.goaway().has_value());
    CHECK(*client.goaway() != http2::kNoError);
  }
}

TEST_CASE("h2 abuse: fields that are small on the wire and large in memory", "[h2][abuse]") {
  HttpServer server({route("/", hello())}, http2::h2c_options());
  http2::Client client(server.port());
  // One field of nearly the table's size, and then a byte for each time it is meant again.
  const std::string large = "\x40" + http2::literal("x-bomb") + http2::literal(std::string(4000, 'b'));
  const std::string block = http2::block(http2::get_fields()) + large + std::string(10'000, '\xbe');
  REQUIRE(
      client.send(http2::frame(http2::kHeaders, http2::kEndStream | http2::kEndHeaders, 1, block.substr(0, 16'000))));
  REQUIRE(client.until([&] { return !client.goaways().empty(); }));
  CHECK(client.goaway() == http2::kEnhanceYourCalm);
  // What is over the limit, and no bomb, is answered.
  http2::Client modest(server.port());
  REQUIRE(modest.send(http2::frame(http2::kHeaders, http2::kEndStream | http2::kEndHeaders, 1,
                                   http2::block(http2::get_fields()) + large + std::string(8, '\xbe'))));
  CHECK(modest.reply(1).status == 431);
}

TEST_CASE("h2 abuse: prefaces, SETTINGS and frames that stall", "[h2][abuse]") {
  http::ServerOptions options = http2::h2c_options();
  options.timeouts.header = 300ms;
  HttpServer server({route("/", hello()), route("/echo", handler(protocol::collect))}, options);
  const std::string preface(http2::kPreface);
  const std::string settled = preface + http2::settings();
  const std::string half_a_block =
      http2::frame(http2::kHeaders, http2::kEndStream, 1, http2::block(http2::get_fields()));
  const std::string half_a_ping = http2::frame(http2::kPing, 0, 0, "12345678").substr(0, 12);
  for (const std::string& begun : {preface.substr(0, 20), preface, preface + half_a_ping,
                                   settled + half_a_ping.substr(0, 4), settled + half_a_ping, settled + half_a_block}) {
    INFO(begun.size());
    http2::Client client(server.port(), {});
    REQUIRE(client.send(begun));
    CHECK(client.until_closed());
  }
  CHECK(eventually([&] { return server.server().connections() == 0; }));
}

TEST_CASE("h2 abuse: a client that opens no window, or opens it by drops, is given up", "[h2][abuse]") {
  const auto pours = handler(
      [](http::Exchange& ex) -> Result<void> { return ex.respond(200, "text/plain", std::string(100'000, 'p')); });
  http::ServerOptions options = http2::h2c_options();
  SECTION("not at all") {
    options.timeouts.write = 300ms;
    HttpServer server({route("/", pours)}, options);
    http2::Client client(server.port(), http2::settings(http2::setting(4, 0)));
    REQUIRE(client.send(http2::get(1)));
    CHECK(client.reply(1).status == 200);
    CHECK(client.so_far(1).reset == http2::kCancel);
    CHECK(client.so_far(1).body.empty());
    CHECK(client.ping());
  }
  SECTION("not at all, of an answer that is complete") {
    options.timeouts.write = 300ms;
    HttpServer server({route("/", hello())}, options);
    http2::Client client(server.port(), http2::settings(http2::setting(4, 0)));
    REQUIRE(client.send(http2::get(1)));
    CHECK(client.reply(1).status == 200);
    CHECK(client.so_far(1).reset == http2::kCancel);
    CHECK(client.ping());
  }
  SECTION("by a byte at a time") {
    options.timeouts.grace = 100ms;
    options.write_rate = 1'000'000;
    options.http2.glitches = 1'000'000;
    HttpServer server({route("/", pours)}, options);
    http2::Client client(server.port(), http2::settings(http2::setting(4, 0)));
    REQUIRE(client.send(http2::get(1)));
    for (int i = 0; i < 90'000 && !client.so_far(1).reset; ++i) {
      if (!client.send(http2::window_update(1, 1))) break;
      if (!client.ping()) break;
    }
    CHECK(client.so_far(1).reset == http2::kCancel);
  }
}

TEST_CASE("h2 abuse: a body that does not come, or comes by drops, is answered 408", "[h2][abuse]") {
  http::ServerOptions options = http2::h2c_options();
  options.timeouts.body = 300ms;
  HttpServer server({route("/", hello()), route("/echo", handler(protocol::collect))}, options);
  http2::Client client(server.port());
  REQUIRE(
      client.send(http2::headers(1, http2::post_fields(), false) + http2::data(1, "b", false) + http2::get(3, "/")));
  CHECK(client.reply(3).status == 200);
  REQUIRE(client.until([&] { return client.so_far(1).ended; }));
  CHECK(client.so_far(1).status == 408);
}

TEST_CASE("h2 abuse: who does not read what he asks for is not read any further", "[h2][abuse]") {
  const auto large = handler([](http::Exchange& ex) -> Result<void> {
    const std::string text(6'000, 'x');
    const http::Field field{"X-Large", text};
    return ex.respond(204, {}, {}, {&field, 1});
  });
  http::ServerOptions options = http2::h2c_options();
  options.timeouts.write = 500ms;
  options.http2.glitches = 1'000'000;
  HttpServer server({route("/", large)}, options);
  http2::Client client(server.port(), http2::settings(), 4096);
  // Sends block once the server has stopped reading; then it gives up, and cuts.
  bool taken = true;
  for (std::uint32_t id = 1; taken && id < 2'000'000; id += 2) taken = client.send(http2::get(id));
  CHECK_FALSE(taken);
  CHECK(eventually([&] { return server.server().connections() == 0; }));
}
