// HTTP/2 connections that live longer than what they began with: a reload, idleness, frames that never end together.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <memory>
#include <string>

#include "core/runtime/runtime.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"
#include "tests/support/memory_stream.hpp"
#include "tests/support/seeds.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

TEST_CASE("h2: a reload allows new connections other numbers of requests, and not those that were told", "[h2]") {
  std::atomic<unsigned> running{0};
  std::atomic<bool> go_on{false};
  const auto wait = [&] {
    return route("/wait", handler([&](http::Exchange& ex) -> Result<void> {
                   ++running;
                   while (!go_on) (void)runtime::sleep_for(1ms);
                   return ex.respond(200, "text/plain", "done");
                 }));
  };
  http::ServerOptions options = http2::h2c_options();
  HttpServer server({wait(), route("/", hello())}, options);
  http2::Client client(server.port());
  REQUIRE(client.until([&] { return client.server_settings()[3] == 100; }));
  options.http2.max_streams = 1;
  server.server().use(*http::Site::make(options, {wait(), route("/", hello())}));
  REQUIRE(client.send(http2::get(1, "/wait")));
  REQUIRE(eventually([&] { return running == 1; }));
  REQUIRE(client.send(http2::get(3)));
  CHECK(client.reply(3).status == 200);
  http2::Client later(server.port());
  CHECK(later.until([&] { return later.server_settings()[3] == 1; }));
  go_on = true;
  CHECK(client.reply(1).body == "done");
}

TEST_CASE("h2: an idle connection does not keep what was replaced", "[h2]") {
  const http::ServerOptions options = http2::h2c_options();
  HttpServer server({route("/", hello())}, options);
  std::shared_ptr<const http::Site> site = *http::Site::make(options, {route("/", hello())});
  const std::weak_ptr<const http::Site> old = site;
  server.server().use(std::move(site));
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1)));
  REQUIRE(client.reply(1).status == 200);
  server.server().use(*http::Site::make(options, {route("/", hello())}));
  CHECK(eventually([&] { return old.expired(); }));
  REQUIRE(client.send(http2::get(3)));
  CHECK(client.reply(3).status == 200);
}

TEST_CASE("h2: idle connections that end are counted, as HTTP/1's", "[h2]") {
  metric::Registry registry;
  metric::Family& counter =
      registry.family({.name = "n", .help = "h", .type = metric::Type::counter, .labels = {"what"}});
  metric::Leases leases(registry);
  http::ServerOptions options = http2::h2c_options();
  options.metrics.idle_timeouts = &leases.counter(counter, {"idle"});
  options.metrics.header_timeouts = &leases.counter(counter, {"header"});
  options.timeouts.idle = options.timeouts.header = 1s;
  HttpServer server({route("/", hello())}, options);
  http2::Client served(server.port());
  http2::Client silent(server.port());
  REQUIRE(served.send(http2::get(1)));
  REQUIRE(served.reply(1).status == 200);
  CHECK(served.until_closed());
  CHECK(silent.until_closed());
  CHECK(silent.goaway() == http2::kNoError);
  CHECK(options.metrics.idle_timeouts->value() == 1);
  CHECK(options.metrics.header_timeouts->value() == 1);
}

TEST_CASE("h2: what comes at the very moment at which the connection would rest is served at once",
          "[h2][simulation]") {
  for_each_simulation(8, [&](std::uint64_t seed) {
    auto made = http::Server::make(http2::h2c_options(), {route("/", hello())});
    invariant(made.has_value(), "no server");
    const auto link = std::make_shared<MemoryStream::Link>(MemoryFaults{}, seed);
    // The connection's fiber has waited for nothing; it will give itself up next.
    link->when_read_timed_out = [&] { link->deliver(http2::get(1)); };
    (*made)->serve(std::make_unique<MemoryStream>(link));
    {
      MemoryClient client(link);
      const auto begun = runtime::coarse_now();
      // In two pieces: the connection believes that the last, which came short, was all there is.
      (void)client.send(std::string(http2::kPreface));
      (void)runtime::sleep_for(1ms);
      (void)client.send(http2::settings());
      while (client.rest().find("hello") == std::string_view::npos && client.more()) {
      }
      invariant(client.rest().find("hello") != std::string_view::npos, "no answer");
      invariant(runtime::coarse_now() - begun < std::chrono::nanoseconds(1s).count(), "it took its time");
    }
    const std::atomic<std::int64_t> until{Deadline::in(1min).ns()};
    (void)(*made)->stop(until);
  });
}

TEST_CASE("h2: each frame has its time, though none ends with what comes together", "[h2][simulation]") {
  const bool in_time = GENERATE(true, false);
  for_each_simulation(4, [&](std::uint64_t seed) {
    auto made = http::Server::make(http2::h2c_options(), {route("/", hello())});
    invariant(made.has_value(), "no server");
    const auto link = std::make_shared<MemoryStream::Link>(MemoryFaults{}, seed);
    (*made)->serve(std::make_unique<MemoryStream>(link));
    {
      MemoryClient client(link);
      const std::string ping = http2::frame(http2::kPing, 0, 0, "12345678");
      (void)client.send(std::string(http2::kPreface) + http2::settings() + http2::get(1) + ping.substr(0, 10));
      for (int i = 0; in_time && i < 8; ++i) {
        (void)runtime::sleep_for(6s);
        (void)client.send(ping.substr(10) + ping.substr(0, 10));
      }
      if (!in_time) (void)runtime::sleep_for(11s);
      (void)client.send(ping.substr(10) + http2::frame(http2::kPing, 0, 0, "the last"));
      client.finish_sending();
      while (client.more()) {
      }
      const bool answered = client.rest().find("the last") != std::string_view::npos;
      invariant(answered == in_time, in_time ? "a frame in time was too late" : "a frame may take for ever");
    }
    const std::atomic<std::int64_t> until{Deadline::in(1min).ns()};
    (void)(*made)->stop(until);
  });
}
