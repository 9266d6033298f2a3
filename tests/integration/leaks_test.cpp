// Leaks as the operator of a live daemon finds them, and a daemon that has none and is not accused of any.
#include <signal.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdlib>
#include <list>
#include <memory>
#include <string>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/paced_load.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::string with_leaks(const std::string& threshold, unsigned connections = 20'000) {
  return "admin: {address: \"127.0.0.1:0\"}\n"
         "leaks: {threshold: " +
         threshold +
         "}\n"
         "listeners:\n"
         "  - name: web\n"
         "    address: \"127.0.0.1:0\"\n"
         "    http:\n"
         "      limits: {connections: " +
         std::to_string(connections) +
         "}\n"
         "      timeouts: {idle: 1h, request: 1h}\n"
         "      routes:\n"
         "        - {path: /, respond: {body: hello}}\n"
         "        - {path: /leak, handler: leak}\n"
         "        - {path: /deadlock, handler: deadlock}\n"
         "        - {path: /poll, handler: poll}\n";
}

const std::string kCertainLeaks = "fiberd_fiber_leaks{kind=\"certain\"}";
const std::string kSuspectLeaks = "fiberd_fiber_leaks{kind=\"suspect\"}";

bool page_has(const std::string& text, const std::string& part) {
  INFO(text << "\nhas no " << part);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

/// Connections that have asked once and are idle, and others whose answer does not come.
struct WaitingCrowd {
  std::list<HttpClient> idle;
  std::list<HttpClient> polls;
  WaitingCrowd(std::uint16_t port, int idle_ones, int waiting) {
    for (int i = 0; i < idle_ones; ++i) {
      idle.emplace_back(port);
      if (!idle.back().ask(get("/"))) return;
    }
    for (int i = 0; i < waiting; ++i) {
      polls.emplace_back(port);
      polls.back().send(get("/poll"));
    }
  }
};

/// So many looks after now.
void wait_for_looks(const Daemon& daemon, int looks) {
  const auto age = [&daemon] {
    const std::string page = daemon.admin("/debug/leaks?format=json");
    const std::size_t at = page.find("\"age_seconds\":");
    return at == std::string::npos ? 1e9 : std::strtod(page.c_str() + at + 14, nullptr);
  };
  for (int i = 0; i < looks; ++i) {
    double last = age();
    CHECK(eventually([&] {
      const double now = age();
      const bool newer = now < last;
      last = now;
      return newer;
    }));
  }
}

}  // namespace

TEST_CASE("leaks of a daemon that serves on are named by page, gauge, log and profile; long polls are none",
          "[integration][leaks]") {
  Daemon daemon(with_leaks("400ms"), {.program = FIBERD_LEAKY});
  WaitingCrowd crowd(daemon.port("web"), 100, 20);
  wait_for_looks(daemon, 6);  // a look each quarter of the threshold
  const std::string before = daemon.admin("/debug/leaks");
  page_has(before, "leaks: 0 certain, 0 suspect, of ");
  CHECK(daemon.metric(kCertainLeaks) == 0.0);
  CHECK(daemon.metric(kSuspectLeaks) == 0.0);

  HttpClient web(daemon.port("web"));
  REQUIRE(web.ask(get("/leak"))->status == 200);
  REQUIRE(web.ask(get("/deadlock"))->status == 200);
  // Without the search (sanitizers) only the circle is certain.
  const double certain = kSanitized ? 2.0 : 3.0;
  CHECK(eventually([&] { return daemon.metric(kCertainLeaks) == certain; }));
  CHECK(daemon.metric(kSuspectLeaks) == 3.0 - certain);
  const std::string page = daemon.admin("/debug/leaks");
  page_has(page, "leaks: " + std::to_string(static_cast<int>(certain)) + " certain, ");
  page_has(page, "certain: 2 fibers [mutex, the oldest for ");
  page_has(page, "because they wait for each other: fiber ");
  page_has(page, "1 fiber [channel_send, the oldest for ");
  page_has(page, "programs/leaky.cpp:");
  page_has(page, "  growth: ");
  page_has(daemon.admin("/debug/leaks?format=json"), "\"reason\":\"mutex\"");
  page_has(daemon.admin("/debug/leaks?threshold=100ms"), "waiting for more than 100 ms");
  CHECK(daemon.admin_status("/debug/leaks?threshold=soon") == 400);
  CHECK(daemon.admin_status("/debug/leaks?threshold=0s") == 400);
  CHECK(daemon.admin_status("/debug/leaks?format=xml") == 400);
  CHECK(daemon.wait_for_log("leak: 2 fibers [mutex, the oldest for ", 90s));  // a line in 10 s
  page_has(daemon.admin("/debug/pprof/goroutineleak?debug=1"),
           "goroutineleak profile: total " + std::to_string(static_cast<int>(certain)) + "\n2 @ 0x");
  page_has(daemon.admin("/debug/pprof/goroutineleak?debug=1&suspects=1"), "goroutineleak profile: total 3\n");
  const std::string profile = daemon.admin("/debug/pprof/goroutineleak");
  REQUIRE(profile.size() > 2);
  CHECK(profile.substr(0, 2) == "\x1f\x8b");  // gzip, as `go tool pprof` takes it
  CHECK(daemon.admin_status("/debug/pprof/goroutineleak?debug=3") == 400);
  CHECK(web.ask(get("/"))->status == 200);

  // Switched off by a reload: what was found is not told any more as of now.
  daemon.write_config(with_leaks("0s"));
  daemon.process().signal(SIGHUP);
  CHECK(daemon.wait_for_log("leaks"));
  daemon.process().signal(SIGKILL);  // a stop would wait for what waits for ever
}

TEST_CASE("10,000 idle connections and long polls are no leaks", "[integration][leaks]") {
  const int idle = kSanitized ? 500 : 10'000;
  Daemon daemon(with_leaks("400ms"), {.program = FIBERD_LEAKY});
  WaitingCrowd crowd(daemon.port("web"), idle, 200);
  CHECK(crowd.idle.size() == static_cast<std::size_t>(idle));
  wait_for_looks(daemon, 8);
  const std::string page = daemon.admin("/debug/leaks");
  page_has(page, "leaks: 0 certain, 0 suspect, of ");
  CHECK(daemon.metric(kCertainLeaks) == 0.0);
  CHECK(daemon.metric(kSuspectLeaks) == 0.0);
  CHECK(daemon.log().find("leak") == std::string::npos);
}

TEST_CASE("a mixed load is not accused of a leak, for half an hour", "[.nightly][integration][leaks]") {
  const char* const wanted = std::getenv("FIBERD_LEAK_MINUTES");
  const int minutes = wanted != nullptr ? std::atoi(wanted) : 30;
  Daemon daemon(with_leaks("2s"), {.program = FIBERD_LEAKY});
  WaitingCrowd crowd(daemon.port("web"), 2'000, 100);
  PacedLoad load({.port = daemon.port("web"), .connections = 100, .rate = 1'000, .body = "hello"});
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(minutes);
  std::string found;
  int looks = 0;
  while (std::chrono::steady_clock::now() < end && found.empty()) {
    // Some leave while they wait, and others come.
    for (int i = 0; i < 10; ++i) {
      crowd.polls.pop_front();
      crowd.polls.emplace_back(daemon.port("web"));
      crowd.polls.back().send(get("/poll"));
    }
    wait_for_looks(daemon, 2);
    ++looks;
    if (looks % 20 == 0) daemon.process().signal(SIGHUP);
    const std::string page = daemon.admin("/debug/leaks");
    if (page.find("leaks: 0 certain, 0 suspect, of ") == std::string::npos) found = page;
  }
  const auto outcome = load.finish();
  INFO(found);
  CHECK(found.empty());
  CHECK(outcome.failed == 0);
  CHECK(outcome.answered > 0);
  CHECK(looks > minutes);
}
