// What --set changes, and how its text is read.
#include <catch2/catch.hpp>

#include "config/config.hpp"
#include "tests/unit/config/loading.hpp"

using namespace fiberd::config;
using namespace std::chrono_literals;

TEST_CASE("--set replaces one key", "[config]") {
  const std::string base = with_route("{path: /, echo: {}}");
  Outcome o =
      load(base, {"runtime.gomaxprocs=3", "listeners[0].address=127.0.0.1:81",
                  "listeners[0].http.server=", "listeners[0].http.routes[1]={path: /two, respond: {body: 2}}",
                  "shutdown={delay: 1s}", "listeners[1]={name: t, address: \"127.0.0.1:0\", tcp: {discard: {}}}"});
  INFO(all(o));
  REQUIRE(o.ok());
  CHECK(o.config.runtime.gomaxprocs == 3);
  CHECK(o.config.shutdown.delay == 1s);
  REQUIRE(o.config.listeners.size() == 2);
  CHECK(o.config.listeners[0].address == "127.0.0.1:81");
  CHECK(std::get<HttpConfig>(o.config.listeners[0].service).server.empty());
  CHECK(std::get<HttpConfig>(o.config.listeners[0].service).routes.size() == 2);

  const std::vector<std::pair<std::string, std::string>> bad{
      {"runtime.gomaxprocs", "must be key=value"},
      {"=5", "must be key=value"},
      {"[0]=5", "must be key=value"},
      {"runtime..x=5", "must be key=value"},
      {"listeners[x].name=5", "must be key=value"},
      {"listeners[0.name=5", "must be key=value"},
      {"listeners[7].name=5", "there is no item [7]; the list has 1"},
      {"listeners.name=5", "no keys"},
      {"runtime[0]=5", "must be a mapping"},
      {"runtime.gomaxprocs=x", "auto or 1 … 1024"},
      {"runtime.gomaxproc=2", "did you mean gomaxprocs?"},
      {"runtime.gomaxprocs=[", ""},
      {"runtime.gomaxprocs=*a", ""},
  };
  for (const auto& [text, message] : bad) {
    o = load(base, {text});
    INFO(text << ": " << all(o));
    CHECK_FALSE(o.ok());
    CHECK(all(o).find(message) != std::string::npos);
    CHECK(all(o).find("--set") != std::string::npos);
  }
}

TEST_CASE("--set takes text as it is written where text is wanted", "[config]") {
  const std::string base =
      "listeners: [{name: a, address: \"127.0.0.1:0\", http: {hosts: [x], routes: [{path: /, respond: {body: b}}]}}]\n";
  Outcome o = load(base, {"admin.address=[::1]:9090", "listeners[0].address=[::]:80",
                          "listeners[0].http.hosts[0]=*.example.org", "listeners[0].http.server=it's {not} a [map]",
                          "listeners[0].http.routes[0].respond.headers.X-List=[1] [2]", "log.output=\"quoted\""});
  INFO(all(o));
  REQUIRE(o.ok());
  CHECK(o.config.admin.address == "[::1]:9090");
  CHECK_FALSE(o.config.admin.by_default);
  CHECK(o.config.listeners[0].address == "[::]:80");
  CHECK(o.config.log.output == "quoted");
  const auto& http = std::get<HttpConfig>(o.config.listeners[0].service);
  CHECK(http.hosts == std::vector<std::string>{"*.example.org"});
  CHECK(http.server == "it's {not} a [map]");
  // What is no text even so is refused, and so is more than one value where a number is wanted.
  for (const char* bad :
       {"log.output=\xff", "runtime.gomaxprocs=[1]:2", "admin=[::1]:9090", "log.output=[1]", "log.output={a: 1}"}) {
    o = load(base, {bad});
    INFO(bad << ": " << all(o));
    CHECK_FALSE(o.ok());
  }
}
