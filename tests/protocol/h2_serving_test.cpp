// HTTP/2 as handlers and their clients see it: answers, bodies, windows, resets, contexts, the connection's end.
#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <vector>

#include "core/http/h2/code.hpp"
#include "tests/protocol/raw_site.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::shared_ptr<http::Handler> echo_whole() { return handler(protocol::collect); }

/// Answers with `size` bytes in pieces, and counts those that were taken.
std::shared_ptr<http::Handler> pours(std::size_t size, std::atomic<std::size_t>& poured) {
  return handler([size, &poured](http::Exchange& ex) -> Result<void> {
    if (const auto begun = ex.begin({}); !begun) return begun;
    const std::string piece(10'000, 'p');
    for (std::size_t sent = 0; sent < size; sent += piece.size()) {
      if (const auto written = ex.write(piece); !written) return written;
      poured += piece.size();
    }
    return ex.end();
  });
}

/// Waits for its context's end, and says why it came.
struct WaitsForEnd {
  std::atomic<unsigned> running{0};
  std::atomic<unsigned> most{0};
  std::atomic<unsigned> ended{0};
  std::atomic<bool> let_go{false};
  std::atomic<int> reset_code{-1};
  std::atomic<bool> was_reset{false};
  std::shared_ptr<http::Handler> make() {
    return handler([this](http::Exchange& ex) -> Result<void> {
      const unsigned now = ++running;
      for (unsigned seen = most; seen < now && !most.compare_exchange_weak(seen, now);) {
      }
      const context::Context& ctx = ex.context();
      while (!let_go && !ctx.done()) (void)runtime::sleep_for(1ms);
      if (ctx.done()) {
        was_reset = ctx.cause() == std::errc::connection_reset;
        reset_code = ctx.cause().value();
      }
      const Result<void> answered = ex.respond(200, "text/plain", "let go");
      --running;
      ++ended;
      return answered;
    });
  }
};

}  // namespace

TEST_CASE("h2: many requests of one connection at once, each its own answer", "[h2]") {
  WaitsForEnd waits;
  HttpServer server({route("/", hello()), route("/wait", waits.make()), route("/echo", echo_whole())},
                    http2::h2c_options());
  http2::Client client(server.port());
  std::string bytes;
  for (std::uint32_t id = 1; id <= 39; id += 2) bytes += http2::get(id, "/wait");
  REQUIRE(client.send(bytes));
  CHECK(eventually([&] { return waits.running == 20; }));
  // Others are not held up by them.
  REQUIRE(client.send(http2::get(41) + http2::post(43, "a body")));
  CHECK(client.reply(41).body == "hello");
  CHECK(client.reply(41).field("content-length") == "5");
  CHECK_FALSE(client.reply(41).field("date").empty());
  CHECK(client.reply(41).field("connection").empty());
  CHECK(client.reply(43).body == "a body");
  waits.let_go = true;
  for (std::uint32_t id = 1; id <= 39; id += 2) CHECK(client.reply(id).body == "let go");
  CHECK(server.server().connections() == 1);
}

TEST_CASE("h2: the frames of many streams leave in few sends", "[h2]") {
  HttpServer server({route("/", hello())}, http2::h2c_options(), 1);
  auto socket = std::make_unique<HttpClient>(server.port());
  HttpClient& counted = *socket;
  http2::Client client(std::move(socket));
  REQUIRE(client.ping());
  const unsigned before = counted.data_segments();
  std::string bytes;
  for (std::uint32_t id = 1; id <= 99; id += 2) bytes += http2::get(id);
  REQUIRE(client.send(bytes));
  for (std::uint32_t id = 1; id <= 99; id += 2) CHECK(client.reply(id).body == "hello");
  CHECK(counted.data_segments() - before <= 10);  // 50 answers
}

TEST_CASE("h2: HEAD, 204, 304 and an empty body end with their head", "[h2]") {
  const auto status = [](unsigned code) {
    return handler([code](http::Exchange& ex) { return ex.respond(code, {}, {}); });
  };
  HttpServer server(
      {route("/", hello()), route("/204", status(204)), route("/304", status(304)), route("/empty", status(200))},
      http2::h2c_options());
  http2::Client client(server.port());
  http2::Fields head = http2::get_fields();
  head[0].second = "HEAD";
  REQUIRE(
      client.send(http2::headers(1, head) + http2::get(3, "/204") + http2::get(5, "/304") + http2::get(7, "/empty")));
  CHECK(client.reply(1).field("content-length") == "5");
  CHECK(client.reply(3).status == 204);
  CHECK(client.reply(3).field("content-length").empty());
  CHECK(client.reply(5).status == 304);
  CHECK(client.reply(7).field("content-length") == "0");
  for (const std::uint32_t id : {1U, 3U, 5U, 7U}) CHECK(client.so_far(id).data_frames == 0);
}

TEST_CASE("h2: pieces, trailers both ways, interim answers, 100 Continue", "[h2]") {
  const auto tells = handler([](http::Exchange& ex) -> Result<void> {
    const http::Field link{"Link", "</style.css>; rel=preload"};
    if (const auto told = ex.respond_interim(103, {&link, 1}); !told) return told;
    std::string body;
    for (;;) {
      const Result<std::string_view> piece = ex.read_body();
      if (!piece) return fail(piece.error());
      if (piece->empty()) break;
      body += *piece;
    }
    const std::string sum(ex.trailers().find("x-sum"));
    if (const auto begun = ex.begin({.status = 201, .content_type = "text/plain"}); !begun) return begun;
    if (const auto written = ex.write(body + "|" + sum); !written) return written;
    if (const auto flushed = ex.flush(); !flushed) return flushed;
    if (const auto written = ex.write("|more"); !written) return written;
    const http::Field trailer{"X-End", "yes"};
    return ex.end({&trailer, 1});
  });
  HttpServer server({route("/", tells)}, http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(http2::headers(1, http2::post_fields("/", {{"expect", "100-continue"}}), false)));
  CHECK(client.until([&] { return client.so_far(1).interim.size() == 2; }));
  CHECK(client.so_far(1).interim == std::vector<unsigned>{103, 100});
  REQUIRE(client.send(http2::data(1, "body", false) + http2::headers(1, {{"x-sum", "4"}})));
  const http2::Reply& reply = client.reply(1);
  CHECK(reply.status == 201);
  CHECK(reply.body == "body|4|more");
  CHECK(reply.trailers == http2::Fields{{"x-end", "yes"}});
}

TEST_CASE("h2: an answer is poured as far as the client has opened its windows, and no further", "[h2]") {
  std::atomic<std::size_t> poured{0};
  HttpServer server({route("/", hello()), route("/pour", pours(1'000'000, poured))}, http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1, "/pour")));
  REQUIRE(client.until([&] { return client.so_far(1).body.size() == 65'535; }));
  REQUIRE(client.ping());
  CHECK(client.so_far(1).body.size() == 65'535);
  CHECK(poured <= 65'535 + 40'000);
  // The connection's window is shut, too: a head passes.
  http2::Fields head = http2::get_fields();
  head[0].second = "HEAD";
  REQUIRE(client.send(http2::headers(3, head)));
  CHECK(client.reply(3).status == 200);
  REQUIRE(client.send(http2::window_update(1, 10'000) + http2::window_update(0, 5'000)));
  REQUIRE(client.until([&] { return client.so_far(1).body.size() == 70'535; }));
  REQUIRE(client.ping());
  CHECK(client.so_far(1).body.size() == 70'535);
  REQUIRE(client.send(http2::window_update(0, 2'000'000) + http2::window_update(1, 2'000'000)));
  CHECK(client.reply(1).body.size() == 1'000'000);
  CHECK(client.reply(1).ended);
}

TEST_CASE("h2: what waits to be sent is bounded, however wide the client has opened its windows", "[h2]") {
  static constexpr std::size_t kPiece = std::size_t{1} << 20U;
  static constexpr std::uint32_t kStreams = 40;
  std::atomic<std::size_t> written{0};
  const std::string piece(kPiece, 'p');
  HttpServer server({route("/", handler([&](http::Exchange& ex) -> Result<void> {
                             if (const auto begun = ex.begin({}); !begun) return begun;
                             if (const auto sent = ex.write(piece); !sent) return sent;
                             written += kPiece;
                             return ex.end();
                           }))},
                    http2::h2c_options());
  http2::Client client(server.port(), http2::settings(http2::setting(4, 0x7fff'ffff)), 64 * 1024);
  std::string bytes = http2::window_update(0, 0x7000'0000);
  for (std::uint32_t s = 0; s < kStreams; ++s) bytes += http2::get(2 * s + 1);
  REQUIRE(client.send(bytes));
  // Pieces that were taken from their handlers, and have not come. Sockets hold some megabytes of it.
  std::size_t most = 0;
  CHECK(client.until([&] {
    std::size_t come = 0;
    bool over = true;
    for (std::uint32_t s = 0; s < kStreams; ++s) {
      come += client.so_far(2 * s + 1).body.size();
      over = over && client.so_far(2 * s + 1).over();
    }
    const std::size_t taken = written;
    if (taken > come) most = std::max(most, taken - come);
    return over;
  }));
  CHECK(written == kStreams * kPiece);
  CHECK(most < 20 * kPiece);
}

TEST_CASE("h2: windows for a body open as its handler reads", "[h2]") {
  std::atomic<unsigned> may_read{0};
  const auto reads = handler([&](http::Exchange& ex) -> Result<void> {
    std::size_t size = 0;
    for (unsigned piece = 1;; ++piece) {
      while (may_read < piece) (void)runtime::sleep_for(1ms);
      const Result<std::string_view> read = ex.read_body();
      if (!read) return fail(read.error());
      if (read->empty()) break;
      size += read->size();
    }
    return ex.respond(200, "text/plain", std::to_string(size));
  });
  http::ServerOptions options = http2::h2c_options();
  options.http2.stream_window = 65'535;
  options.http2.connection_window = 65'535;
  HttpServer server({route("/", reads)}, options);
  http2::Client client(server.port());
  std::string bytes = http2::headers(1, http2::post_fields("/"), false);
  for (int i = 0; i < 4; ++i) bytes += http2::data(1, std::string(16'000, 'b'), false);
  REQUIRE(client.send(bytes));
  REQUIRE(client.ping());
  CHECK(client.window_updates(0) == 0);
  CHECK(client.window_updates(1) == 0);
  may_read = 1000;
  CHECK(client.until([&] { return client.window_updates(0) >= 32'768 && client.window_updates(1) >= 32'768; }));
  REQUIRE(client.send(http2::data(1, "end")));
  CHECK(client.reply(1).body == "64003");
}

TEST_CASE("h2: who sends beyond a window is told so", "[h2]") {
  WaitsForEnd waits;
  http::ServerOptions options = http2::h2c_options();
  options.http2.stream_window = 65'535;
  HttpServer server({route("/", waits.make())}, options);
  http2::Client client(server.port());
  REQUIRE(client.until([&] { return !client.server_settings().empty(); }));
  REQUIRE(client.ping());
  std::string bytes = http2::headers(1, http2::post_fields("/"), false);
  for (int i = 0; i < 5; ++i) bytes += http2::data(1, std::string(16'000, 'b'), false);
  REQUIRE(client.send(bytes));
  REQUIRE(client.until([&] { return client.so_far(1).reset.has_value() || !client.goaways().empty(); }));
  CHECK(client.so_far(1).reset.value_or(client.goaway().value_or(0)) == http2::kFlowControlError);
  waits.let_go = true;
}

TEST_CASE("h2: a reset ends its request's context with the reason, and no other's", "[h2]") {
  WaitsForEnd waits;
  HttpServer server({route("/", hello()), route("/wait", waits.make())}, http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1, "/wait") + http2::get(3, "/wait")));
  REQUIRE(eventually([&] { return waits.running == 2; }));
  REQUIRE(client.send(http2::rst(1, http2::kCancel)));
  CHECK(eventually([&] { return waits.ended == 1; }));
  CHECK(waits.was_reset);
  CHECK(waits.reset_code == static_cast<int>(http::h2::Code::cancel));
  CHECK(waits.running == 1);
  waits.let_go = true;
  CHECK(client.reply(3).body == "let go");
}

TEST_CASE("h2: a connection that is cut ends what its streams wait for", "[h2]") {
  WaitsForEnd waits;
  std::atomic<std::size_t> poured{0};
  HttpServer server(
      {route("/wait", waits.make()), route("/pour", pours(10'000'000, poured)), route("/echo", echo_whole())},
      http2::h2c_options());
  {
    http2::Client client(server.port());
    REQUIRE(
        client.send(http2::get(1, "/wait") + http2::get(3, "/pour") + http2::headers(5, http2::post_fields(), false)));
    REQUIRE(eventually([&] { return waits.running == 1 && poured > 0; }));
  }
  CHECK(eventually([&] { return waits.ended == 1; }));
  CHECK(eventually([&] { return server.server().connections() == 0; }));
}

TEST_CASE("h2: a handler that fails behind its head, or throws, ends its stream alone", "[h2]") {
  const auto breaks = handler([](http::Exchange& ex) -> Result<void> {
    if (const auto begun = ex.begin({}); !begun) return begun;
    if (const auto written = ex.write("half"); !written) return written;
    if (const auto flushed = ex.flush(); !flushed) return flushed;
    return fail(std::errc::io_error);
  });
  const auto throws = handler([](http::Exchange&) -> Result<void> { throw std::runtime_error("on purpose"); });
  HttpServer server({route("/", hello()), route("/breaks", breaks), route("/throws", throws)}, http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1, "/breaks") + http2::get(3, "/throws") + http2::get(5)));
  CHECK(client.reply(1).reset == http2::kInternalError);
  CHECK_FALSE(client.reply(1).ended);
  CHECK(client.reply(3).status == 500);
  CHECK(client.reply(5).status == 200);
}

TEST_CASE("h2: a body that nobody reads is dropped, and its client told to stop", "[h2]") {
  HttpServer server({route("/", hello())}, http2::h2c_options());
  http2::Client client(server.port());
  REQUIRE(client.send(http2::headers(1, http2::post_fields("/"), false)));
  REQUIRE(client.until([&] { return client.so_far(1).ended; }));
  CHECK(client.so_far(1).body == "hello");
  // A little of it, and the end: nothing is said.
  REQUIRE(client.send(http2::data(1, "body")));
  REQUIRE(client.ping());
  CHECK_FALSE(client.so_far(1).reset.has_value());
  // More than a little.
  REQUIRE(client.send(http2::headers(3, http2::post_fields("/"), false)));
  REQUIRE(client.until([&] { return client.so_far(3).ended; }));
  const auto may_send = [&](std::size_t sent) {
    return sent + 16'000 <= 256 * 1024 + client.window_updates(3) &&
           sent + 16'000 <= 1024 * 1024 + client.window_updates(0);
  };
  for (std::size_t sent = 0; !client.so_far(3).reset; sent += 16'000) {
    REQUIRE(client.until([&] { return client.so_far(3).reset || may_send(sent); }));
    (void)client.send(http2::data(3, std::string(16'000, 'b'), false));
    REQUIRE(client.ping());
  }
  CHECK(client.so_far(3).reset == http2::kNoError);
  REQUIRE(client.send(http2::get(5)));
  CHECK(client.reply(5).status == 200);
}

TEST_CASE("h2: a connection at rest has no fiber, and serves its next request", "[h2]") {
  HttpServer server({route("/", hello())}, http2::h2c_options());
  const auto fibers = [&] {
    const auto stats = server.runtime().read_mem_stats();
    return stats.fibers_created - stats.fibers_ended;
  };
  const auto before = fibers();
  http2::Client client(server.port());
  REQUIRE(client.send(http2::get(1)));
  CHECK(client.reply(1).status == 200);
  CHECK(eventually([&] { return fibers() == before; }));
  REQUIRE(client.send(http2::get(3)));
  CHECK(client.reply(3).status == 200);
}

TEST_CASE("h2: without h2c the preface is a bad request of HTTP/1", "[h2]") {
  HttpServer server({route("/", hello())});
  HttpClient client(server.port());
  REQUIRE(client.send(std::string(http2::kPreface) + http2::settings()));
  const auto answer = client.receive();
  REQUIRE(answer);
  CHECK(answer->status == 505);
}

TEST_CASE("h2: HTTP/1 is served beside it, also what begins as the preface does", "[h2]") {
  HttpServer server({route("/", hello())}, http2::h2c_options());
  HttpClient plain(server.port());
  CHECK(plain.ask(get("/"))->status == 200);
  HttpClient nearly(server.port());
  CHECK(nearly.ask("PRI * HTTP/1.1\r\nHost: a\r\n\r\n")->status == 400);
}

TEST_CASE("h2: answers leave by urgency, and take turns where they are incremental (RFC 9218)", "[h2]") {
  const std::size_t size = 50'000;
  const auto large = *http::make_respond_handler({.content_type = "text/plain", .body = std::string(size, 'x')});
  HttpServer server({route("/", large)}, http2::h2c_options());
  // No stream has a window: what is ready waits, until all may leave at the same time.
  http2::Client client(server.port(), http2::settings(http2::setting(4, 0)) + http2::window_update(0, 10'000'000));
  const auto ask = [&](std::uint32_t id, const std::string& priority) {
    const http2::Fields more = priority.empty() ? http2::Fields{} : http2::Fields{{"priority", priority}};
    REQUIRE(client.send(http2::get(id, "/", more)));
    REQUIRE(client.until([&] { return client.so_far(id).status == 200; }));
  };
  const auto let_go = [&](std::vector<std::uint32_t> ids, const std::string& before = "") {
    REQUIRE(client.send(before + http2::settings(http2::setting(4, 1'000'000))));
    for (const std::uint32_t id : ids) CHECK(client.reply(id).body.size() == size);
  };
  using Order = std::vector<std::uint32_t>;
  SECTION("by urgency, one behind the other") {
    ask(1, "u=7");
    ask(3, "u=0");
    ask(5, "");  // 3
    ask(7, "u=5");
    let_go({1, 3, 5, 7});
    CHECK(client.data_order == Order{3, 5, 7, 1});
  }
  SECTION("of the same urgency one behind the other, too") {
    ask(1, "u=3");
    ask(3, "u=3, i=?0");
    ask(5, "");
    let_go({1, 3, 5});
    CHECK(client.data_order.size() == 3);
  }
  SECTION("or in turns") {
    ask(1, "i");
    ask(3, "u=3, i");
    ask(5, "i");
    let_go({1, 3, 5});
    REQUIRE(client.data_order.size() >= 9);
    CHECK(client.data_order[0] != client.data_order[2]);
    CHECK(client.data_order[1] != client.data_order[3]);
  }
  SECTION("as PRIORITY_UPDATE has it since") {
    ask(1, "u=7");
    ask(3, "u=0");
    let_go({1, 3}, http2::frame(http2::kPriorityUpdate, 0, 0, http2::number(1, 4) + "u=0") +
                       http2::frame(http2::kPriorityUpdate, 0, 0, http2::number(3, 4) + "u=6"));
    CHECK(client.data_order == Order{1, 3});
  }
}
