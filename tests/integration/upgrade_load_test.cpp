// Clients ask at a steady rate, over kept connections and new ones, while the daemon is reloaded, followed by new
// processes and started anew: no request fails, as they count.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <cstdlib>
#include <optional>
#include <string>

#include "tests/integration/configurations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/held_socket.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/paced_load.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::string generation(unsigned n) {
  return with_listeners(http_listener("web", says("/", "hello") + ", " + says("/g" + std::to_string(n), "g"),
                                      ", limits: {connections: " + std::to_string(1000 + n) + "}"));
}

/// POSTs to the admin's address, as the command does; the answer's text.
std::string post(std::uint16_t admin, const std::string& path) {
  HttpClient client(admin, 0, 60s);
  const auto answer = client.ask("POST " + path + " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  if (!answer) return "no answer";
  return answer->status == 200 ? answer->body : std::to_string(answer->status) + ": " + answer->body;
}

struct Wanted {
  unsigned connections;
  unsigned rate;
  unsigned fresh_each;
  unsigned reloads;
  unsigned upgrades;
};

void all_changes(const Wanted& wanted) {
  REQUIRE(::prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
  const HeldSocket web;
  const HeldSocket admin;
  const Daemon::Options options{.environment = {{"LISTEN_FDNAMES", "web:admin"}}, .listening = {web.fd(), admin.fd()}};
  std::optional<Daemon> daemon(std::in_place, generation(0), options);
  PacedLoad load({.port = web.port(),
                  .connections = wanted.connections,
                  .rate = wanted.rate,
                  .fresh_each = wanted.fresh_each,
                  .body = "hello"});
  const auto some_are_answered = [&] {
    const std::uint64_t before = load.answered();
    CHECK(eventually([&] { return load.answered() > before + wanted.rate / 10; }, 30s));
  };
  some_are_answered();
  unsigned reloads = 0;
  pid_t serving = daemon->process().pid();
  for (unsigned n = 0; n < wanted.upgrades; ++n) {
    for (; reloads < wanted.reloads * (n + 1) / wanted.upgrades; ++reloads) {
      daemon->write_config(generation(reloads + 1));
      const std::string answer = post(admin.port(), "/reload");
      INFO(answer);
      REQUIRE(answer.find("reloaded ") == 0);
    }
    const std::string answer = post(admin.port(), "/upgrade");
    INFO(answer << daemon->log());
    REQUIRE(answer.find("upgraded: process ") == 0);
    const pid_t before = serving;
    serving = static_cast<pid_t>(std::atoi(answer.c_str() + 18));
    REQUIRE(serving > 1);
    some_are_answered();
    if (before != daemon->process().pid()) {
      int status = 0;
      CHECK(eventually([&] { return ::waitpid(before, &status, WNOHANG) == before; }, 40s));
      CHECK(status == 0);
    }
  }
  CHECK(daemon->process().wait(40s) == 0);
  // A restart: who connects meanwhile waits in the queue.
  (void)::kill(serving, SIGTERM);
  int status = 0;
  CHECK(eventually([&] { return ::waitpid(serving, &status, WNOHANG) == serving; }, 40s));
  CHECK(status == 0);
  daemon.emplace(generation(0), options);
  some_are_answered();
  const PacedLoad::Outcome outcome = load.finish();
  INFO(outcome.first_failure);
  CHECK(outcome.failed == 0);
  CHECK(outcome.answered == outcome.asked);
  CHECK(outcome.told >= wanted.connections / 2);  // that was how connections ended
  WARN(reloads << " reloads, " << wanted.upgrades << " upgrades, a restart: " << outcome.asked << " requests, "
               << outcome.fresh << " by new connections, " << outcome.failed << " failed; " << outcome.told
               << " connections were told to end, " << outcome.closed << " were closed; p50 " << outcome.quantile(0.5)
               << " us, p99 " << outcome.quantile(0.99) << " us, most " << outcome.quantile(1) << " us");
  CHECK(daemon->stop() == 0);
  (void)::prctl(PR_SET_CHILD_SUBREAPER, 0);
}

}  // namespace

TEST_CASE("reloads, upgrades and a restart under load: no request fails", "[integration][upgrade]") {
  all_changes({50, 400, 8, 6, 3});
}

TEST_CASE("100 reloads, 10 upgrades and a restart at 2,000 requests a second: none fails",
          "[integration][upgrade][.nightly]") {
  // On 200 connections, and 50 new ones a second.
  all_changes({200, 2000, 40, 100, 10});
}
