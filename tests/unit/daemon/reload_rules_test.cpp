// What a reload refuses, by name and place, and what it says has changed.
#include "daemon/reload_rules.hpp"

#include <catch2/catch.hpp>

using namespace fiberd;
using namespace fiberd::daemon;

namespace {

config::Config read(const std::string& yaml) {
  config::Outcome outcome = config::load_text(yaml, "f.yaml");
  for (const auto& d : outcome.diagnostics) UNSCOPED_INFO(d.to_string());
  REQUIRE(outcome.ok());
  return outcome.config;
}
const std::string kWeb = "  - {name: web, address: \"127.0.0.1:8080\", http: {routes: [{path: /, echo: {}}]}}\n";
config::Config listeners(const std::string& all, const std::string& rest = {}) {
  return read(rest + "listeners:\n" + all);
}
std::vector<std::string> refused(const config::Config& before, const config::Config& after) {
  std::vector<std::string> lines;
  for (const config::Diagnostic& d : not_reloadable(before, after)) lines.push_back(d.to_string());
  return lines;
}

}  // namespace

TEST_CASE("each key of runtime but gomaxprocs is refused by its name", "[daemon][reload]") {
  const config::Config before = listeners(kWeb);
  for (const char* const change :
       {"stack_size: 128KiB", "small_stack_size: 32KiB", "large_stack_size: 4MiB", "stack_guards: canary",
        "stack_learning: on", "stack_trim_after: 5m", "blocking_threads: 3", "handoff_max: 3", "machines_max: 99"}) {
    const auto lines = refused(before, listeners(kWeb, std::string("runtime: {") + change + "}\n"));
    INFO(change);
    REQUIRE(lines.size() == 1);
    const std::string key = std::string(change).substr(0, std::string(change).find(':'));
    CHECK(lines[0].starts_with("f.yaml:1:"));
    CHECK(lines[0].find(": runtime." + key + ": ") != std::string::npos);
  }
  CHECK(refused(before, listeners(kWeb, "runtime: {gomaxprocs: 2}\n")).empty());
  CHECK(refused(before, before).empty());
}

TEST_CASE("all that a reload refuses is told at once, with its place", "[daemon][reload]") {
  const config::Config before = listeners(kWeb + "  - {name: db, address: \"127.0.0.1:5432\", tcp: {echo: {}}}\n" +
                                          "  - {name: stats, address: \"127.0.0.1:8125\", aggregate: {}}\n" +
                                          "  - {name: more, address: \"127.0.0.1:8126\", aggregate: {}}\n");
  const auto lines = refused(
      before,
      listeners("  - {name: web, address: [\"127.0.0.1:81\", \"127.0.0.1:5432\"], reuseport: true, tcp: {echo: {}}}\n"
                "  - {name: stats, address: \"127.0.0.1:8126\", aggregate: {series: 5, limits: {connections: 3}}}\n"));
  REQUIRE(lines.size() == 3);
  CHECK(lines[0].find("listeners[0].reuseport: ") != std::string::npos);
  CHECK(lines[1].find("f.yaml:3:28: listeners[1].address: listener more has 127.0.0.1:8126") != std::string::npos);
  CHECK(lines[2].find("listeners[1].aggregate.series: ") != std::string::npos);
}

TEST_CASE("listeners may be renamed, become something else and swap their addresses", "[daemon][reload]") {
  const std::string db = "  - {name: db, address: \"127.0.0.1:5432\", tcp: {echo: {}}}\n";
  const config::Config before = listeners(kWeb + db);
  const std::string swapped =
      "  - {name: web, address: \"127.0.0.1:5432\", http: {routes: [{path: /, echo: {}}]}}\n"
      "  - {name: db, address: \"127.0.0.1:8080\", aggregate: {}}\n";
  CHECK(refused(before, listeners(swapped)).empty());
  CHECK(what_changed(before, listeners(swapped)) ==
        "listener web moved from 127.0.0.1:8080 to 127.0.0.1:5432; listener db is aggregate instead of tcp");
  CHECK(
      refused(before, listeners(kWeb + "  - {name: base, address: \"127.0.0.1:5432\", tcp: {discard: {}}}\n")).empty());
}

TEST_CASE("a listener may move, come and go, and a port that anybody gets is nobody's", "[daemon][reload]") {
  const std::string any = "  - {name: a, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n";
  CHECK(refused(listeners(kWeb), listeners(any)).empty());
  CHECK(refused(listeners(any), listeners(any + "  - {name: b, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n")).empty());
  CHECK(refused(listeners(kWeb), listeners("  - {name: web, address: \"127.0.0.1:81\", http: {routes: [{path: /, "
                                           "echo: {}}]}}\n"))
            .empty());
}

TEST_CASE("what has changed is told in one line", "[daemon][reload]") {
  const config::Config before = listeners(kWeb + "  - {name: a, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n");
  CHECK(what_changed(before, before).empty());
  // Where a value stands in the file is no difference.
  CHECK(what_changed(listeners(kWeb), listeners("\n# a comment\n\n" + kWeb)).empty());
  CHECK(
      what_changed(before, listeners("  - {name: web, address: \"127.0.0.1:8080\", http: {routes: [{path: /, respond: "
                                     "{body: x}}]}}\n  - {name: b, address: \"127.0.0.1:0\", tcp: {echo: {}}}\n",
                                     "log: {level: debug}\n")) ==
      "listener web changed; listener b added; listener a removed; log");
  // Each section that can change.
  for (const auto& [section, change] :
       std::vector<std::pair<std::string, std::string>>{{"admin", "{hosts: [ops]}"},
                                                        {"metrics", "{address: \"127.0.0.1:0\"}"},
                                                        {"runtime", "{gomaxprocs: 2}"},
                                                        {"memory", "{trim_at: 70}"},
                                                        {"profiles", "{mutex_fraction: 7}"},
                                                        {"trace", "{on_stall: true, directory: /tmp}"},
                                                        {"file_cache", "{files: 7}"},
                                                        {"log", "{modules: {http: debug}}"},
                                                        {"shutdown", "{delay: 7s}"},
                                                        {"leaks", "{threshold: 7s}"}})
    CHECK(what_changed(listeners(kWeb), listeners(kWeb, section + ": " + change + "\n")) == section);
}
