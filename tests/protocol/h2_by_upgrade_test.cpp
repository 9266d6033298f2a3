// HTTP/2 by a request of HTTP/1.1 that asks for it (RFC 7540 section 3.2), and requests that do not ask rightly.
#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <utility>

#include "core/tls/jose.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/h2_client.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

http::ServerOptions upgrading() {
  http::ServerOptions options;
  options.http2.by_upgrade = true;
  return options;
}

std::string asking(const std::string& fields, const std::string& line = "GET / HTTP/1.1") {
  return line + "\r\nHost: a.example\r\n" + fields + "\r\n";
}
std::string asks_with(const std::string& settings) {
  return "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: " + tls::to_base64url(settings) +
         "\r\n";
}

/// Behind the 101 that `request` is answered; null where the answer is another.
std::unique_ptr<http2::Client> upgraded(std::uint16_t port, const std::string& request) {
  auto socket = std::make_unique<HttpClient>(port, 0, std::chrono::seconds(20));
  socket->send(request);
  std::size_t end = 0;
  while ((end = socket->rest().find("\r\n\r\n")) == std::string::npos)
    if (!socket->more()) return nullptr;
  if (socket->rest().substr(0, end + 4) !=
      "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    return nullptr;
  socket->drop(end + 4);
  return std::make_unique<http2::Client>(std::move(socket));
}

std::shared_ptr<http::Handler> describes() {
  return handler([](http::Exchange& ex) -> Result<void> {
    (void)ex.context();
    const http::Request& r = ex.request();
    std::string text = std::string(ex.protocol()) + " " + std::string(r.method_text) + " " + std::string(r.target) +
                       " " + std::string(r.host);
    for (std::size_t i = 0; i < r.headers.size(); ++i)
      text.append(" ").append(r.headers[i].name).append("=").append(r.headers[i].value);
    return ex.respond(200, "text/plain", text);
  });
}

}  // namespace

TEST_CASE("h2 by an upgrade: the request is answered on stream 1, and the connection goes on", "[h2][upgrade]") {
  HttpServer server({route("/", hello()), route("/what", describes())}, upgrading());
  {
    const auto client =
        upgraded(server.port(), asking(asks_with("") + "X-More: Yes\r\nCookie: a=1\r\n", "GET /what?x=1 HTTP/1.1"));
    REQUIRE(client != nullptr);
    CHECK(client->reply(1).body == "HTTP/2.0 GET /what?x=1 a.example x-more=Yes cookie=a=1");
    REQUIRE(client->send(http2::get(3)));
    CHECK(client->reply(3).body == "hello");
  }
  {
    const auto client = upgraded(server.port(), asking(asks_with(""), "HEAD / HTTP/1.1"));
    REQUIRE(client != nullptr);
    CHECK(client->reply(1).field("content-length") == "5");
    CHECK(client->reply(1).data_frames == 0);
  }
  {
    // Behind another request, and with the preface on its heels.
    auto socket = std::make_unique<HttpClient>(server.port(), 0, std::chrono::seconds(20));
    socket->send(get("/what") + asking(asks_with("")) + std::string(http2::kPreface) + http2::settings() +
                 http2::get(3));
    const auto first = socket->receive();
    REQUIRE(first);
    CHECK(first->body == "HTTP/1.1 GET /what a.example Host=a.example");
    std::size_t end = 0;
    while ((end = socket->rest().find("\r\n\r\n")) == std::string::npos && socket->more()) {
    }
    REQUIRE(socket->rest().starts_with("HTTP/1.1 101 "));
    socket->drop(end + 4);
    http2::Client client(std::move(socket), {});
    CHECK(client.reply(1).body == "hello");
    CHECK(client.reply(3).body == "hello");
  }
}

TEST_CASE("h2 by an upgrade: what HTTP2-Settings says holds from the first answer on", "[h2][upgrade]") {
  HttpServer server({route("/", hello())}, upgrading());
  const auto client = upgraded(server.port(), asking(asks_with(http2::setting(4, 0))));
  REQUIRE(client != nullptr);
  REQUIRE(client->until([&] { return client->so_far(1).status == 200; }));
  REQUIRE(client->ping());
  CHECK(client->so_far(1).body.empty());
  REQUIRE(client->send(http2::window_update(1, 100)));
  CHECK(client->reply(1).body == "hello");
}

TEST_CASE("h2 by an upgrade: who does not send his preface has the time of a head", "[h2][upgrade]") {
  http::ServerOptions options = upgrading();
  options.timeouts.header = std::chrono::milliseconds(300);
  HttpServer server({route("/", hello())}, options);
  HttpClient client(server.port(), 0, std::chrono::seconds(20));
  client.send(asking(asks_with("")));
  while (client.more()) {
  }
  CHECK(client.ended());
  CHECK(eventually([&] { return server.server().connections() == 0; }));
}

TEST_CASE("h2 by an upgrade: what does not ask rightly is HTTP/1.1's", "[h2][upgrade]") {
  HttpServer server({route("/", hello())}, upgrading());
  const std::string right = asks_with("");
  for (const std::string& request : {
           asking("Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n"),
           asking("Connection: HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: \r\n"),
           asking("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n"),
           asking("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2\r\nHTTP2-Settings: \r\n"),
           asking(right + "HTTP2-Settings: \r\n"),
           asking("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: A\r\n"),
           asking("Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMA+AAB\r\n"),
           asking(asks_with("12345")),
           asking(asks_with(std::string(6 * 33, '\0'))),
           asking(asks_with(http2::setting(2, 2))),
           asking(asks_with(http2::setting(4, 0x80000000U))),
           asking(asks_with(http2::setting(3, 1) + http2::setting(5, 16'383))),
           asking(asks_with(http2::setting(8, 2))),
           asking(asks_with("") + "Connection: close\r\n"),
           asking(right, "GET http://a.example/ HTTP/1.1"),
           asking(right, "GET / HTTP/1.0"),
           asking(right + "Content-Length: 4\r\n", "POST / HTTP/1.1") + "body",
           asking(right + "Transfer-Encoding: chunked\r\n", "POST / HTTP/1.1") + "0\r\n\r\n",
       }) {
    INFO(request);
    HttpClient client(server.port());
    const auto answer = client.ask(request);
    REQUIRE(answer);
    CHECK(answer->status == 200);
    CHECK(answer->body == "hello");
    CHECK(client.interim() == 0);
  }
}

TEST_CASE("h2 by an upgrade: not where nobody has said so", "[h2][upgrade]") {
  HttpServer server({route("/", hello())});
  HttpClient client(server.port());
  const auto answer = client.ask(asking(asks_with("")));
  REQUIRE(answer);
  CHECK(answer->body == "hello");
  CHECK(client.interim() == 0);
}
