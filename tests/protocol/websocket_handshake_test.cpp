// Who may open a WebSocket, and what is answered to who may not (RFC 6455 section 4.2).
#include <catch2/catch.hpp>
#include <stdexcept>
#include <string>
#include <string_view>

#include "core/http/websocket/websocket.hpp"
#include "tests/support/websocket_client.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

http::Route greeting_route() {
  return route("/", http::make_websocket_echo_handler(*http::WebSocketRules::make({}, {}), {}));
}

}  // namespace

TEST_CASE("websocket: the handshake's answer is the RFC's own example", "[protocol][websocket]") {
  HttpServer server({greeting_route()});
  WebSocketClient client(server.port());
  const std::string head = client.open();
  CHECK(head ==
        "HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
        "Upgrade: websocket\r\nConnection: upgrade\r\n\r\n");
}

TEST_CASE("websocket: what is no handshake is answered, and says what is wanted", "[protocol][websocket]") {
  HttpServer server({greeting_route()});
  const std::string right = websocket_request("/");
  const auto without = [&](std::string_view from, std::string_view to = {}) {
    std::string changed = right;
    const std::size_t at = changed.find(from);
    if (at == std::string::npos) throw std::runtime_error(std::string(from));
    return changed.replace(at, from.size(), to);
  };
  struct Row {
    const char* name;
    std::string request;
    unsigned status;
    const char* version;
    const char* upgrade;
  };
  const Row rows[] = {
      {"a plain GET", get("/"), 426, "", "websocket"},
      {"no Upgrade", without("Upgrade: websocket\r\n"), 426, "", "websocket"},
      {"another Upgrade", without("websocket", "h2c"), 426, "", "websocket"},
      {"Connection without upgrade", without("Connection: Upgrade", "Connection: keep-alive"), 426, "", "websocket"},
      {"no version", without("Sec-WebSocket-Version: 13\r\n"), 426, "13", "websocket"},
      {"version 8", without("Version: 13", "Version: 8"), 426, "13", "websocket"},
      {"versions 13 and 8", without("Version: 13", "Version: 13, 8"), 426, "13", "websocket"},
      {"no key", without("Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"), 400, "", ""},
      {"a key of 15 bytes", without("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j"), 400, "", ""},
      {"a key that is no base64", without("dGhlIHNhbXBsZSBub25jZQ==", "dGhlIHNhbXBsZSBub25j!!=="), 400, "", ""},
      {"two keys", without("\r\n\r\n", "\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"), 400, "", ""},
      {"POST", without("GET /", "POST /"), 426, "", "websocket"},
      {"a body", without("\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx"), 400, "", ""},
      {"a subprotocol that is no token", without("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a/b\r\n\r\n"), 400, "", ""},
      {"a subprotocol twice", without("\r\n\r\n", "\r\nSec-WebSocket-Protocol: a, a\r\n\r\n"), 400, "", ""},
  };
  for (const Row& row : rows) {
    INFO(row.name);
    HttpClient client(server.port());
    const Answer answer = client.ask(row.request).value_or(Answer{});
    CHECK(answer.status == row.status);
    CHECK(answer.field("Sec-WebSocket-Version") == row.version);
    CHECK(answer.field("Upgrade") == row.upgrade);
    CHECK(answer.field("Connection").starts_with(row.status == 426 ? "upgrade" : ""));
    // HTTP goes on.
    if (answer.field("Connection").find("close") == std::string::npos)
      CHECK(client.ask(get("/")).value_or(Answer{}).status == 426);
  }
  HttpClient old(server.port());
  CHECK(old.ask(without("HTTP/1.1", "HTTP/1.0")).value_or(Answer{}).status == 426);
}

TEST_CASE("websocket: subprotocols and origins", "[protocol][websocket]") {
  const auto rules = *http::WebSocketRules::make({"same", "https://*.friend.example"}, {"chat", "v2.chat"});
  HttpServer server({route("/", http::make_websocket_echo_handler(rules, {}))});
  const auto agreed = [&](const char* fields) {
    WebSocketClient client(server.port());
    const std::string head = client.open("/", fields);
    if (head.empty()) return std::string("refused");
    return Answer{101, head, {}}.field("Sec-WebSocket-Protocol");
  };
  CHECK(agreed("") == "");
  CHECK(agreed("Sec-WebSocket-Protocol: v2.chat, chat\r\n") == "v2.chat");  // the client's order
  CHECK(agreed("Sec-WebSocket-Protocol: other\r\nSec-WebSocket-Protocol: chat\r\n") == "chat");
  CHECK(agreed("Sec-WebSocket-Protocol: other\r\n") == "");
  CHECK(agreed("Origin: https://a.example\r\n") == "");
  CHECK(agreed("Origin: http://A.example\r\n") == "");  // the host's name, whatever its case
  CHECK(agreed("Origin: https://x.friend.example\r\n") == "");
  CHECK(agreed("Origin: https://friend.example\r\n") == "refused");
  CHECK(agreed("Origin: https://evil.example\r\n") == "refused");
  CHECK(agreed("Origin: null\r\n") == "refused");
  CHECK(agreed("Origin: https://a.example\r\nOrigin: https://evil.example\r\n") == "refused");
  CHECK(agreed("Origin: https://a.example.evil.example\r\n") == "refused");
  HttpClient evil(server.port());
  CHECK(evil.ask(websocket_request("/", "Origin: https://evil.example\r\n")).value_or(Answer{}).status == 403);
}

TEST_CASE("websocket: what rules refuse", "[protocol][websocket]") {
  std::string why;
  CHECK_FALSE(http::WebSocketRules::make({"evil.example"}, {}, &why));
  CHECK(why.find("evil.example") != std::string::npos);
  CHECK_FALSE(http::WebSocketRules::make({}, {"a b"}, &why));
  CHECK(why == "subprotocol \"a b\" is no token");
  CHECK_FALSE(http::WebSocketRules::make({}, {"a", "a"}, &why));
  CHECK(http::WebSocketRules::make({"*"}, {}));
}
