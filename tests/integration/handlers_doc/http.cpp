// docs/handlers.md: HTTP handlers.
#include <array>
#include <atomic>
#include <catch2/catch.hpp>
#include <cctype>
#include <chrono>
#include <cstddef>
#include <span>
#include <stdexcept>
#include <string>

#include "core/context/waits.hpp"
#include "core/http/filter.hpp"
#include "core/http/handlers.hpp"
#include "core/net/byte_stream.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace std::chrono_literals;

// The page calls a handler hello, and so do the tests another one.
namespace fiberd::handlers_doc {
namespace {

Result<void> hello(http::Exchange& exchange) {
  // Routed as /hello/*: rest() is what * stands for.
  if (exchange.rest().empty()) return exchange.respond_error(404);
  const std::string_view language = exchange.request().headers.find("Accept-Language");
  const std::string greeting = language.starts_with("de") ? "Hallo, " : "Hello, ";
  return exchange.respond(200, "text/plain; charset=utf-8", greeting + std::string(exchange.rest()) + "\n");
}

class Visits final : public http::Handler {
 public:
  Result<void> serve(http::Exchange& exchange) override {
    const std::string body = std::to_string(++visits_);
    const http::Field field{"Cache-Control", "no-store"};
    return exchange.respond(200, "text/plain", body, {&field, 1});
  }

 private:
  std::atomic<std::uint64_t> visits_{0};
};

Result<void> measure(http::Exchange& exchange) {
  std::uint64_t bytes = 0;
  for (;;) {
    const Result<std::string_view> piece = exchange.read_body();
    if (!piece) return fail(piece.error());  // nothing was answered yet: the server says 400, 408 or 413
    if (piece->empty()) break;
    bytes += piece->size();
  }
  return exchange.respond(200, "text/plain", std::to_string(bytes));
}

Result<void> countdown(http::Exchange& exchange) {
  http::ResponseHead head;
  head.content_type = "text/plain";
  if (const Result<void> begun = exchange.begin(head); !begun) return begun;
  for (int i = 3; i != 0; --i) {
    if (const auto sent = exchange.write(std::to_string(i) + "\n"); !sent) return sent;  // the client is gone
    if (const auto sent = exchange.flush(); !sent) return sent;                          // it waits for this piece
    if (const auto slept = context::sleep(exchange.client_context(), 1ms); !slept) return slept;
  }
  return exchange.end();
}

Result<void> shout(http::Exchange& exchange) {
  const http::Field offered{"Upgrade", "shout"};
  if (!exchange.request().headers.has_token("Upgrade", "shout")) return exchange.respond_error(426, {&offered, 1});
  const Result<net::ByteStream*> upgraded = exchange.upgrade("shout");  // 101: the bytes are ours from here on
  if (!upgraded) return fail(upgraded.error());
  std::array<std::byte, 1024> buffer;
  for (;;) {
    const Result<std::size_t> n = (*upgraded)->read_some(buffer, Deadline::in(30s));
    if (!n || *n == 0) return {};  // timed out, reset, or the client has said all
    for (std::byte& b : std::span(buffer).first(*n)) b = static_cast<std::byte>(std::toupper(static_cast<int>(b)));
    for (std::span<const std::byte> rest = std::span(buffer).first(*n); !rest.empty();) {
      const Result<std::size_t> sent = (*upgraded)->write_some(rest, Deadline::in(30s));
      if (!sent) return {};
      rest = rest.subspan(*sent);
    }
  }
}

Result<void> needs_key(http::Exchange& exchange, http::Next next) {
  if (exchange.request().headers.find("X-Key") != "open sesame") return exchange.respond_error(403);
  if (const auto set = exchange.set_field("Cache-Control", "private"); !set) return set;
  return next(exchange);
}

class Count final : public http::Filter {
 public:
  Result<void> serve(http::Exchange& exchange, http::Next next) override {
    const Result<void> done = next(exchange);  // what a handler threw has become a status here
    ++(exchange.status() < 500 ? good_ : bad_);
    return done;
  }
  [[nodiscard]] std::uint64_t good() const noexcept { return good_; }
  [[nodiscard]] std::uint64_t bad() const noexcept { return bad_; }

 private:
  std::atomic<std::uint64_t> good_{0};
  std::atomic<std::uint64_t> bad_{0};
};

}  // namespace

TEST_CASE("docs/handlers.md: HTTP handlers", "[integration][docs]") {
  const auto route = [](std::string path, std::shared_ptr<http::Handler> handler) {
    http::Route r;
    r.spec.path = std::move(path);
    r.handler = std::move(handler);
    return r;
  };
  test::HttpServer server({route("/hello/*", http::make_handler(&hello)), route("/visits", std::make_shared<Visits>()),
                           route("/measure", http::make_handler(&measure)),
                           route("/countdown", http::make_handler(&countdown)),
                           route("/shout", http::make_handler(&shout))});
  test::HttpClient client(server.port());
  CHECK(client.ask(test::get("/hello/world"))->body == "Hello, world\n");
  CHECK(client.ask(test::get("/hello/Welt", "Accept-Language: de\r\n"))->body == "Hallo, Welt\n");
  CHECK(client.ask(test::get("/hello/"))->status == 404);
  CHECK(client.ask(test::get("/visits"))->body == "1");
  const auto second = client.ask(test::get("/visits"));
  CHECK(second->body == "2");
  CHECK(second->field("Cache-Control") == "no-store");
  CHECK(client.ask("POST /measure HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12345")->body == "5");
  CHECK(client.ask(test::get("/countdown"))->body == "3\n2\n1\n");
  CHECK(client.ask(test::get("/shout"))->field("Upgrade") == "shout");
  client.send(test::get("/shout", "Connection: upgrade\r\nUpgrade: shout\r\n") + "over here");
  while (client.rest().find("OVER HERE") == std::string::npos) REQUIRE(client.more());
}

TEST_CASE("docs/handlers.md: filters", "[integration][docs]") {
  const auto count = std::make_shared<Count>();
  http::ServerOptions options;
  options.filters = {count};
  http::Route open{.spec = {.path = "/"}, .handler = test::hello()};
  open.filters = {http::make_filter(&needs_key)};
  http::Route throws{.spec = {.path = "/throws"},
                     .handler = test::handler([](http::Exchange&) -> Result<void> { throw std::runtime_error("x"); })};
  test::HttpServer server({open, throws}, std::move(options));
  test::HttpClient client(server.port());
  CHECK(client.ask(test::get("/"))->status == 403);
  const auto in = client.ask(test::get("/", "X-Key: open sesame\r\n"));
  REQUIRE(in);
  CHECK(in->body == "hello");
  CHECK(in->field("Cache-Control") == "private");
  CHECK(client.ask(test::get("/nowhere"))->status == 404);
  CHECK(client.ask(test::get("/throws", "Connection: close\r\n"))->status == 500);
  CHECK(client.wait_end());
  CHECK(count->good() == 3);
  CHECK(count->bad() == 1);
}

}  // namespace fiberd::handlers_doc
