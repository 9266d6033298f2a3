// Handlers that a configuration names and a program has, or not.
#include "config/handlers.hpp"

#include <catch2/catch.hpp>

using namespace fiberd::config;

namespace {

std::string checked(const std::string& yaml, const HandlerNames& names) {
  Outcome outcome = load_text(yaml, "f.yaml");
  check_handlers(outcome, names);
  std::string text;
  for (const Diagnostic& d : outcome.diagnostics) text += d.to_string() + "\n";
  return text;
}

std::string web(const std::string& route) {
  return "listeners:\n- name: w\n  address: \"127.0.0.1:0\"\n  http:\n    routes:\n    - {path: /, " + route + "}\n";
}
std::string tcp(const std::string& service) {
  return "listeners:\n- name: t\n  address: \"127.0.0.1:0\"\n  tcp: {" + service + "}\n";
}

const HandlerNames kNames{.http = {"greeting", "users"}, .tcp = {"upper"}};

}  // namespace

TEST_CASE("handlers that the program has", "[config][handlers]") {
  CHECK(checked(web("handler: greeting"), kNames).empty());
  CHECK(checked(tcp("handler: upper"), kNames).empty());
  const Outcome o = load_text(web("handler: users, methods: [GET]"), "f.yaml");
  REQUIRE(o.ok());
  const auto& route = std::get<HttpConfig>(o.config.listeners[0].service).routes[0];
  CHECK(std::get<HandlerAction>(route.action).name == "users");
  const Outcome t = load_text(tcp("handler: upper"), "f.yaml");
  REQUIRE(t.ok());
  CHECK(std::get<TcpConfig>(t.config.listeners[0].service).service == TcpService::handler);
  CHECK(std::get<TcpConfig>(t.config.listeners[0].service).handler.name == "upper");
}

TEST_CASE("handlers that the program has not are refused in their place, with a remedy", "[config][handlers]") {
  CHECK(checked(web("handler: greting"), kNames) ==
        "f.yaml:6:26: listeners[0].http.routes[0].handler: this program has no HTTP handler \"greting\"; did you mean "
        "greeting?\n");
  CHECK(checked(tcp("handler: uper"), kNames) ==
        "f.yaml:4:18: listeners[0].tcp.handler: this program has no TCP handler \"uper\"; did you mean upper?\n");
  CHECK(checked(web("handler: something"), kNames).find("; it has: greeting users\n") != std::string::npos);
  CHECK(checked(web("handler: upper"), kNames).find("; it has one of the other kind") != std::string::npos);
  CHECK(checked(tcp("handler: users"), kNames).find("; it has one of the other kind") != std::string::npos);
  CHECK(checked(web("handler: greeting"), {}).find("; it has none: they are registered in C++") != std::string::npos);
}

TEST_CASE("a handler is one action of a route and one service of a listener", "[config][handlers]") {
  CHECK(checked(web("handler: greeting, echo: {}"), kNames).find("only one of") != std::string::npos);
  CHECK(checked(web("handler: \"\""), kNames).find("handler: is empty") != std::string::npos);
  CHECK(checked(tcp("handler: \"\""), kNames).find("handler: is empty") != std::string::npos);
  CHECK(checked(web("handler: {name: greeting}"), kNames).find("must be a single value") != std::string::npos);
  CHECK(checked(tcp("handler: upper, echo: {}"), kNames).find("exactly one of") != std::string::npos);
  CHECK(checked(tcp("handler: upper, timeouts: {idle: 5s}"), kNames).find("idle: is not for handler") !=
        std::string::npos);
}

TEST_CASE("diagnostics of handlers stand in the order of the file", "[config][handlers]") {
  const std::string text =
      checked(web("handler: greting") + "- {name: t, address: nowhere, tcp: {handler: x}}\n", kNames);
  const std::size_t first = text.find("f.yaml:6:");
  const std::size_t second = text.find("f.yaml:7:22");
  const std::size_t third = text.find("f.yaml:7:46");
  CHECK(first < second);
  CHECK(second < third);
  CHECK(third != std::string::npos);
}
