// How connections of HTTP/2 end: stops, age, idleness, in two steps where something may be on its way.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <thread>

#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::shared_ptr<http::Handler> waits_for(std::atomic<unsigned>& running, std::atomic<bool>& go_on) {
  return handler([&](http::Exchange& ex) -> Result<void> {
    ++running;
    while (!go_on && !ex.context().done()) (void)runtime::sleep_for(1ms);
    return ex.respond(200, "text/plain", "done");
  });
}

}  // namespace

TEST_CASE("h2: a stop says GOAWAY twice, and serves what comes between them", "[h2][stop]") {
  std::atomic<unsigned> running{0};
  std::atomic<bool> go_on{false};
  HttpServer server({route("/", hello()), route("/wait", waits_for(running, go_on))}, http2::h2c_options());
  http2::Client client(server.port());
  client.answers_pings = false;
  REQUIRE(client.send(http2::get(1, "/wait")));
  REQUIRE(eventually([&] { return running == 1; }));
  std::atomic<std::size_t> cut{99};
  std::thread stops([&] { cut = server.stop(20s); });
  REQUIRE(client.until([&] { return client.goaways().size() == 1; }));
  CHECK(client.goaway() == http2::kNoError);
  CHECK(client.goaway_last_stream() == 0x7fffffff);
  REQUIRE(client.send(http2::get(3)));
  CHECK(client.reply(3).status == 200);
  // The second comes when the PING is answered, or a second is over.
  REQUIRE(client.until([&] { return client.goaways().size() == 2; }));
  CHECK(client.goaway_last_stream() == 3);
  go_on = true;
  CHECK(client.reply(1).body == "done");
  CHECK(client.until_closed());
  stops.join();
  CHECK(cut == 0);
}

TEST_CASE("h2: a stop tells idle connections at once", "[h2][stop]") {
  http::ServerOptions options = http2::h2c_options();
  options.timeouts.drain = 1min;  // the PING is answered
  HttpServer server({route("/", hello())}, options);
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1)));
  REQUIRE(client.reply(1).status == 200);
  std::thread stops([&] { (void)server.stop(20s); });
  CHECK(client.until_closed());
  CHECK(client.goaways().size() == 2);
  CHECK(client.goaway() == http2::kNoError);
  CHECK(client.goaway_last_stream() == 1);
  stops.join();
}

TEST_CASE("h2: a stop whose patience is over cuts", "[h2][stop]") {
  std::atomic<unsigned> running{0};
  std::atomic<bool> go_on{false};
  HttpServer server({route("/wait", waits_for(running, go_on))}, http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1, "/wait")));
  REQUIRE(eventually([&] { return running == 1; }));
  CHECK(server.stop(10ms) == 1);
  CHECK(client.until_closed());
}

TEST_CASE("h2: the bound of requests ends a connection in order", "[h2]") {
  http::ServerOptions options = http2::h2c_options();
  options.requests = 5;
  HttpServer server({route("/", hello())}, options);
  http2::Client client(server.port());
  std::uint32_t id = 1;
  for (; client.goaways().size() < 2 && id < 41; id += 2) {
    if (!client.send(http2::get(id)) || client.reply(id).status != 200) break;
    (void)client.ping();
  }
  CHECK(id >= 9);
  CHECK(client.until_closed());
  CHECK(client.goaways().size() == 2);
  CHECK(client.goaway() == http2::kNoError);
}

TEST_CASE("h2: an idle connection ends with GOAWAY, PINGs or not", "[h2]") {
  http::ServerOptions options = http2::h2c_options();
  options.timeouts.idle = 600ms;
  HttpServer server({route("/", hello())}, options);
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1)));
  REQUIRE(client.reply(1).status == 200);
  for (int i = 0; i < 1000 && client.ping(); ++i) std::this_thread::sleep_for(50ms);
  CHECK(client.until_closed());
  CHECK(client.goaway() == http2::kNoError);
}

TEST_CASE("h2: the client's GOAWAY ends the connection behind what is under way", "[h2]") {
  std::atomic<unsigned> running{0};
  std::atomic<bool> go_on{false};
  HttpServer server({route("/wait", waits_for(running, go_on))}, http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1, "/wait") + http2::frame(http2::kGoaway, 0, 0, http2::number(0, 8))));
  REQUIRE(eventually([&] { return running == 1; }));
  go_on = true;
  CHECK(client.reply(1).body == "done");
  CHECK(client.until_closed());
}
