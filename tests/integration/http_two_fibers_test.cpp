// One fiber reads a request's body while another writes the answer; the end of an upgrade; what a pipeline meets whose
// Site is replaced.
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "core/base/clock.hpp"
#include "core/runtime/runtime.hpp"
#include "core/sync/channel.hpp"
#include "core/sync/wait_group.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

/// What one fiber reads the other sends back, piece by piece, each at once; a few may be on their way.
Result<void> echo_by_two(http::Exchange& ex) {
  if (const auto begun = ex.begin({}); !begun) return begun;
  sync::Channel<std::string> pieces(4);
  std::atomic<bool> dead{false};
  std::error_code wrong;
  sync::WaitGroup reader;
  const Result<void> spawned = reader.go("reads", [&] {
    for (;;) {
      const auto piece = ex.read_body();
      if (!piece) wrong = piece.error();
      if (!piece || piece->empty()) break;
      if (!dead) (void)pieces.send(std::string(*piece));
    }
    (void)pieces.close();
  });
  if (!spawned) return spawned;
  Result<void> sent;
  for (;;) {
    const auto piece = pieces.receive();
    if (!piece) break;
    if (sent) sent = ex.write(*piece);
    if (sent) sent = ex.flush();
    if (!sent) dead = true;
  }
  reader.wait();
  if (!sent) return sent;
  return wrong ? Result<void>(fail(wrong)) : ex.end();
}

std::string letters(std::size_t size) {
  std::string body(size, '\0');
  for (std::size_t i = 0; i < size; ++i) body[i] = static_cast<char>('a' + (i * 2654435761U >> 16U) % 26);
  return body;
}

std::shared_ptr<const http::Site> site(std::string body, std::uint32_t header_size = 16 * 1024) {
  http::SiteOptions options;
  options.head.header_size = header_size;
  return *http::Site::make(std::move(options),
                           {route("/*", *http::make_respond_handler({.content_type = "text/plain", .body = body}))});
}

}  // namespace

TEST_CASE("two fibers: what is sent comes back while more is sent, however it is framed", "[http][exchange]") {
  http::Route r = route("/", handler(echo_by_two));
  r.body_size = std::uint64_t{64} << 20U;
  HttpServer server({std::move(r)});
  const std::string body = letters(std::size_t{8} << 20U);
  for (const bool chunked : {false, true}) {
    for (const char* const expect : {"", "Expect: 100-continue\r\n"}) {
      CAPTURE(chunked, expect);
      HttpClient client(server.port());
      std::string head = "POST / HTTP/1.1\r\nHost: a\r\n" + std::string(expect);
      head += chunked ? "Transfer-Encoding: chunked\r\n\r\n"
                      : "Content-Length: " + std::to_string(body.size()) + "\r\n\r\n";
      REQUIRE(client.send(head));
      std::thread sender([&] {
        for (std::size_t at = 0; at < body.size(); at += 100'003) {
          const std::string_view piece = std::string_view(body).substr(at, 100'003);
          char size[20];
          (void)std::snprintf(size, sizeof size, "%zx\r\n", piece.size());
          if (chunked) (void)client.send(size);
          (void)client.send(piece);
          if (chunked) (void)client.send("\r\n");
        }
        if (chunked) (void)client.send("0\r\n\r\n");
      });
      const auto answer = client.receive();
      sender.join();
      REQUIRE(answer);
      CHECK((answer->body == body));
      CHECK(client.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx")->body == "x");
    }
  }
}

TEST_CASE("two fibers: a client that sends more only when the answer to the last piece has come", "[http][exchange]") {
  HttpServer server({route("/", handler(echo_by_two))});
  HttpClient client(server.port());
  for (const char* const expect : {"", "Expect: 100-continue\r\n"}) {
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500\r\n" + std::string(expect) + "\r\n");
    const unsigned interim = client.interim();
    // The first time it waits for the server's leave.
    if (*expect != '\0')
      while (client.rest().find("100 Continue\r\n\r\n") == std::string::npos) REQUIRE(client.more());
    for (int i = 0; i < 100; ++i) {
      const std::string piece = "<" + std::to_string(100 + i) + ">";
      client.send(piece);
      while (client.rest().find(piece) == std::string::npos) REQUIRE(client.more());
    }
    const auto answer = client.receive();
    REQUIRE(answer);
    CHECK(answer->body.size() == 500);
    CHECK(client.interim() == interim + (*expect != '\0' ? 1 : 0));
  }
}

TEST_CASE("two fibers: an answer that was committed in time frees the reader of the request's deadline",
          "[http][exchange]") {
  std::atomic<bool> beyond{false};
  http::Route r = route("/", handler([&](http::Exchange& ex) -> Result<void> {
                          if (const auto begun = ex.begin({}); !begun) return begun;
                          std::error_code wrong;
                          sync::WaitGroup reader;
                          const Result<void> spawned = reader.go("reads", [&] {
                            for (;;) {
                              const auto piece = ex.read_body();
                              if (!piece) wrong = piece.error();
                              if (!piece || piece->empty()) return;
                            }
                          });
                          if (!spawned) return spawned;
                          for (int i = 0; i < 10; ++i) runtime::yield();  // the reader waits, most likely
                          Result<void> sent = ex.flush();
                          // Behind its deadline the reader's timer has fired, too.
                          while (monotonic_now() < ex.deadline().ns() + 50'000'000)
                            (void)runtime::sleep_for(std::chrono::milliseconds(5));
                          beyond = true;
                          reader.wait();
                          if (wrong) return fail(wrong);
                          return sent ? ex.end() : sent;
                        }));
  r.request_timeout = std::chrono::seconds(1);
  HttpServer server({std::move(r)});
  for (const bool chunked : {false, true}) {
    beyond = false;
    HttpClient client(server.port());
    client.send(chunked ? "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab"
                        : "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nab");
    while (!beyond) std::this_thread::yield();
    // Byte by byte: some reads bring nothing of the body itself.
    for (const char c : std::string_view(chunked ? "\r\n2\r\ncd\r\n0\r\n\r\n" : "cd")) client.send({&c, 1});
    CHECK(client.receive());
  }
}

TEST_CASE("exchange: an upgraded connection ends when its handler returns, though its client has not ended",
          "[http][exchange]") {
  HttpServer server({route("/", handler([](http::Exchange& ex) -> Result<void> {
                             const Result<net::ByteStream*> bytes = ex.upgrade("bye");
                             if (!bytes) return fail(bytes.error());
                             const std::string_view text = "bye";
                             const Result<std::size_t> sent = (*bytes)->write_some(
                                 std::as_bytes(std::span(text)), Deadline::in(std::chrono::seconds(10)));
                             return sent ? Result<void>() : fail(sent.error());
                           }))});
  HttpClient client(server.port(), 0, std::chrono::seconds(3));
  client.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: bye\r\n\r\n");
  while (client.more()) {
  }
  CHECK(client.ended());
  CHECK(client.rest().ends_with("\r\n\r\nbye"));
}

TEST_CASE("server: what of a pipeline begins behind a swap is served by the new site", "[http][exchange]") {
  std::atomic<bool> inside{false};
  std::atomic<bool> go_on{false};
  auto waits = handler([&](http::Exchange& ex) -> Result<void> {
    inside = true;
    while (!go_on) (void)runtime::sleep_for(std::chrono::milliseconds(1));
    return ex.respond(200, "text/plain", "old");
  });
  const std::weak_ptr<http::Handler> watched = waits;
  HttpServer server({route("/*", std::move(waits))});
  HttpClient client(server.port());
  client.send(get("/1") + get("/2") + get("/3"));
  while (!inside) std::this_thread::yield();
  // With the same limits of heads: else the connection keeps its buffer, and the site, until that is empty.
  http::SiteOptions same;
  const auto next = *http::Site::make(std::move(same), {route("/*", *http::make_respond_handler({.body = "new"}))},
                                      server.server().site().get());
  server.server().use(next);
  CHECK_FALSE(watched.expired());
  go_on = true;
  CHECK(client.receive()->body == "old");
  CHECK(client.receive()->body == "new");
  CHECK(client.receive()->body == "new");
  for (int i = 0; i < 10'000 && !watched.expired(); ++i) std::this_thread::yield();
  CHECK(watched.expired());
}

TEST_CASE("server: limits of heads that grow are followed by a kept connection, and one that sends a head meanwhile",
          "[http][exchange]") {
  HttpServer server({route("/*", hello())});
  server.server().use(site("small", 1024));
  const std::string long_field = "X-Long: " + std::string(2000, 'x') + "\r\n";
  HttpClient client(server.port());
  HttpClient halfway(server.port());
  CHECK(client.ask(get("/"))->body == "small");
  halfway.send("GET / HTTP/1.1\r\n");
  CHECK(HttpClient(server.port()).ask(get("/", long_field))->status == 431);
  server.server().use(site("large"));
  CHECK(client.ask(get("/", long_field))->body == "large");
  // Its buffer is one of the old site's still: either serves it, and the next one is the new one's.
  halfway.send("Host: a\r\n\r\n");
  CHECK(halfway.receive()->status == 200);
  CHECK(halfway.ask(get("/", long_field))->body == "large");
}
