// The sections `admin` and `metrics`, and the levels of the log's modules.
#include <catch2/catch.hpp>
#include <string>

#include "config/config.hpp"
#include "tests/unit/config/loading.hpp"

using namespace fiberd;
using namespace fiberd::config;

TEST_CASE("metrics: one address, or several, and its name is taken then", "[config]") {
  CHECK(load(kListener).config.metrics.addresses.empty());
  const Outcome one = load("metrics: {address: \"0.0.0.0:9091\"}\n" + kListener);
  INFO(all(one));
  REQUIRE(one.config.metrics.addresses.size() == 1);
  CHECK(one.config.metrics.addresses[0].text == "0.0.0.0:9091");
  const Outcome both = load("metrics: {address: [\"0.0.0.0:9091\", \"[::]:9091\"]}\n" + kListener);
  CHECK(all(both).empty());
  REQUIRE(both.config.metrics.addresses.size() == 2);
  CHECK_FALSE(both.config.metrics.addresses[0].ipv6_only);
  CHECK(both.config.metrics.addresses[1].ipv6_only);
  const std::string named = "listeners: [{name: metrics, address: \"127.0.0.1:80\", tcp: {echo: {}}}]\n";
  CHECK(load(named).ok());
  CHECK(all(load("metrics: {address: \"127.0.0.1:9091\"}\n" + named)).find("listeners[0].name") != std::string::npos);
  CHECK(all(load("admin: {address: \"127.0.0.1:9091\"}\nmetrics: {address: \":9091\"}\n" + kListener))
            .find("used by admin already") != std::string::npos);
  for (const char* const wrong : {"localhost:1", "unix:/m", "127.0.0.1", "\"\"", "[]"})
    CHECK_FALSE(load(std::string("metrics: {address: ") + wrong + "}\n" + kListener).ok());
}

TEST_CASE("log.modules: a module and its level", "[config]") {
  const Outcome o = load("log: {level: warning, modules: {http: debug, program: error}}\n" + kListener);
  CHECK(all(o).empty());
  REQUIRE(o.config.log.modules.size() == 2);
  CHECK(o.config.log.modules[0] == std::pair(LogModule::http, config::LogLevel::debug));
  CHECK(o.config.log.modules[1] == std::pair(LogModule::program, config::LogLevel::error));
  CHECK(all(load("log: {modules: {web: debug}}\n" + kListener)).find("log.modules.web: is no module") !=
        std::string::npos);
  CHECK(all(load("log: {modules: {http: all}}\n" + kListener)).find("\"all\" is no level") != std::string::npos);
}
