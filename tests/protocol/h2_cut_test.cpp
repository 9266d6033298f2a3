// Messages of HTTP/2 that do not come whole, or are larger than most.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>

#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

TEST_CASE("h2: a body whose stream is reset before all of it was read has no end", "[h2]") {
  std::atomic<bool> go_on{false};
  std::atomic<unsigned> running{0};
  std::atomic<std::size_t> read{0};
  std::atomic<int> end{0};  // 1: it was read to its end; 2: there was none
  const auto stores = handler([&](http::Exchange& ex) -> Result<void> {
    ++running;
    while (!go_on) (void)runtime::sleep_for(1ms);
    for (;;) {
      const Result<std::string_view> piece = ex.read_body();
      if (!piece) {
        end = 2;
        return fail(piece.error());
      }
      if (piece->empty()) {
        end = 1;
        return ex.respond(200, "text/plain", "stored");
      }
      read += piece->size();
    }
  });
  HttpServer server({route("/", hello()), route("/store", stores)}, http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(http2::headers(1, http2::post_fields("/store"), false) + http2::data(1, "all of it")));
  REQUIRE(eventually([&] { return running == 1; }));
  REQUIRE(client.send(http2::rst(1, http2::kCancel)));
  REQUIRE(client.ping());
  go_on = true;
  REQUIRE(eventually([&] { return end != 0; }));
  INFO(read << " bytes were read");
  CHECK(end == 2);
  REQUIRE(client.send(http2::get(3)));
  CHECK(client.reply(3).status == 200);
}

TEST_CASE("h2: an answer whose head takes several frames is over once that has left", "[h2]") {
  const auto says = handler([](http::Exchange& ex) -> Result<void> {
    std::string large(40'000, ' ');
    for (std::size_t i = 0; i < large.size(); ++i) large[i] = static_cast<char>('!' + i * 7 % 90);
    const http::Field field{"x-large", large};
    return ex.respond({.status = 204, .fields = {&field, 1}}, "");
  });
  HttpServer server({route("/", says)}, http2::h2c_options());
  const auto fibers = [&] {
    const auto stats = server.runtime().read_mem_stats();
    return stats.fibers_created - stats.fibers_ended;
  };
  const auto before = fibers();
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1)));
  REQUIRE(client.reply(1).status == 204);
  CHECK(client.reply(1).field("x-large").size() == 40'000);
  // Who has nothing under way goes to rest.
  CHECK(eventually([&] { return fibers() == before; }));
}

TEST_CASE("h2: a head that is larger than any client takes ends its stream at once", "[h2]") {
  const auto says = handler([](http::Exchange& ex) -> Result<void> {
    const std::string large(100'000, 'z');
    const http::Field field{"x-large", large};
    return ex.respond({.fields = {&field, 1}}, "body");
  });
  HttpServer server({route("/", hello()), route("/large", says)}, http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1, "/large")));
  CHECK(client.reply(1).reset == http2::kInternalError);
  REQUIRE(client.send(http2::get(3)));
  CHECK(client.reply(3).body == "hello");
}
