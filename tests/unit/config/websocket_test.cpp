// A route's section websocket, and its short form.
#include <catch2/catch.hpp>
#include <chrono>
#include <string>
#include <variant>

#include "config/config.hpp"
#include "config/schema.hpp"
#include "tests/unit/config/loading.hpp"

using namespace fiberd::config;
using namespace std::chrono_literals;

namespace {

WebSocketAction websocket_of(const std::string& route, const std::vector<std::string>& overrides = {}) {
  const Outcome o = load(with_route(route), overrides);
  INFO(all(o));
  REQUIRE(o.ok());
  return std::get<WebSocketAction>(std::get<HttpConfig>(o.config.listeners[0].service).routes[0].action);
}

std::string wrong_websocket(const std::string& options, const std::string& more = {}) {
  return all(load(with_route("{path: /a, websocket: " + options + more + "}")));
}

}  // namespace

TEST_CASE("websocket: echo is a mapping with one key", "[config][websocket]") {
  WebSocketAction short_form = websocket_of("{path: /a, websocket: echo}");
  WebSocketAction long_form = websocket_of("{path: /a, websocket: {handler: echo}}");
  short_form.at = long_form.at = {};
  CHECK(short_form == long_form);
  CHECK(websocket_of("{path: /a, websocket: {}}").message_size == 1024U * 1024);
  CHECK(
      websocket_of("{path: /a, echo: {}}", {"listeners[0].http.routes[0]={path: /a, websocket: echo}"}).ping_interval ==
      30s);
}

TEST_CASE("websocket: every key", "[config][websocket]") {
  const WebSocketAction a = websocket_of(
      "{path: /a, websocket: {message_size: 5KiB, ping_interval: 1s, idle_timeout: 3s, message_timeout: 2s, "
      "compression: true, origins: [same, \"https://*.a.example\"], subprotocols: [x, y]}}");
  CHECK(a.message_size == 5 * 1024);
  CHECK(a.ping_interval == 1s);
  CHECK(a.idle_timeout == 3s);
  CHECK(a.message_timeout == 2s);
  CHECK(a.compression);
  CHECK(a.origins == std::vector<std::string>{"same", "https://*.a.example"});
  CHECK(a.subprotocols == std::vector<std::string>{"x", "y"});
  CHECK(websocket_of("{path: /a, websocket: {ping_interval: 0s, idle_timeout: 10s}}").ping_interval == 0s);
  CHECK(websocket_of("{path: /a, websocket: {ping_interval: 1h, idle_timeout: 0s}}").idle_timeout == 0s);
  CHECK(websocket_of("{path: /a, methods: [GET], websocket: echo}").compression == false);
}

TEST_CASE("websocket: what is refused, each at its place", "[config][websocket]") {
  CHECK(wrong_websocket("chat").find("f.yaml:6:") == 0);
  CHECK(wrong_websocket("chat").find("websocket.handler: ") != std::string::npos);
  CHECK(wrong_websocket("{pings: 1s}").find("unknown key") != std::string::npos);
  CHECK(wrong_websocket("{ping_interval: 75s}")
            .find("ping_interval: a silent client is closed before it has been asked") != std::string::npos);
  CHECK(wrong_websocket("{idle_timeout: 5s}").find("idle_timeout: a silent client") != std::string::npos);
  CHECK(wrong_websocket("{origins: [\"*\"]}").find("origins[0]: is every origin") != std::string::npos);
  CHECK(wrong_websocket("{origins: [same, a.example]}").find("origins[1]: \"a.example\" is not an origin") !=
        std::string::npos);
  CHECK(wrong_websocket("{origins: [same, same]}").find("stands there twice") != std::string::npos);
  CHECK(wrong_websocket("{subprotocols: [\"a b\"]}").find("subprotocols[0]: \"a b\" is no name") != std::string::npos);
  CHECK(wrong_websocket("{subprotocols: [a, a]}").find("a stands there twice") != std::string::npos);
  CHECK(wrong_websocket("{message_size: 0}").find("message_size") != std::string::npos);
  CHECK(wrong_websocket("[echo]") != "");
  CHECK(wrong_websocket("echo", ", methods: [POST]").find("methods: websocket begins with a GET") != std::string::npos);
  CHECK(wrong_websocket("echo", ", echo: {}").find("only one of") != std::string::npos);
}
