// Every TCP listener of the daemon finds out that a peer has vanished. The kernel's table tells which timer runs for a
// connection and how long it has still to go.
#include <arpa/inet.h>

#include <catch2/catch.hpp>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <optional>
#include <sstream>
#include <string>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;

namespace {

/// Seconds until the first probe of the established connection on that port's side; nothing when none is to come.
std::optional<double> seconds_to_probe(std::uint16_t port) {
  char local[8];
  std::snprintf(local, sizeof local, ":%04X", static_cast<unsigned>(port));
  std::ifstream table("/proc/net/tcp");
  std::string line;
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    std::string slot, from, to, state, queues, timer;
    fields >> slot >> from >> to >> state >> queues >> timer;
    // Timer 2 is the keep-alive's.
    if (state == "01" && from.ends_with(local) && timer.starts_with("02:"))
      return static_cast<double>(std::strtoul(timer.c_str() + 3, nullptr, 16)) / 100;
  }
  return std::nullopt;
}

}  // namespace

TEST_CASE("http, tcp, aggregate and admin listeners probe silent peers, as their keys say", "[integration][daemon]") {
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\n"
      "listeners:\n"
      "  - {name: web, address: \"127.0.0.1:0\", http: {routes: [{path: /, respond: {body: hello}}]}}\n"
      "  - {name: echo, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n"
      "  - {name: stats, address: \"127.0.0.1:0\", aggregate: {protocol: tcp}}\n"
      "  - {name: rare, address: \"127.0.0.1:0\", keepalive: {idle: 9000s}, tcp: {echo: {}}}\n"
      "  - {name: none, address: \"127.0.0.1:0\", keepalive: {idle: 0s}, tcp: {echo: {}}}\n");
  for (const char* const name : {"web", "echo", "stats", "admin", "rare", "none"}) {
    INFO(name);
    const std::uint16_t port = daemon.port(name);
    HttpClient client(port);
    const bool http = std::string_view(name) == "web" || std::string_view(name) == "admin";
    REQUIRE(client.send(http ? get("/") : "page.views:1|c\n"));
    if (name != std::string_view("stats")) REQUIRE(client.more());
    if (name == std::string_view("none")) {
      CHECK_FALSE(seconds_to_probe(port).has_value());
      continue;
    }
    // While something is not acknowledged another timer runs.
    std::optional<double> left;
    REQUIRE(eventually([&] { return (left = seconds_to_probe(port)).has_value(); }));
    const double idle = name == std::string_view("rare") ? 9000 : 60;
    CHECK(*left <= idle + 1);
    CHECK(*left > idle - 50);
  }
  CHECK(daemon.stop() == 0);
}
