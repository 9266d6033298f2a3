// What `check --show` prints is a configuration that means the same, without secrets.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>

#include "config/show.hpp"
#include "tests/support/daemon.hpp"
#include "tests/unit/config/loading.hpp"

using namespace fiberd::config;
using fiberd::test::read_file;

namespace {

void check_same(const Config& a, const Config& b) {
  CHECK(a.runtime == b.runtime);
  CHECK(a.memory == b.memory);
  CHECK(a.profiles == b.profiles);
  CHECK(a.trace == b.trace);
  CHECK(a.file_cache == b.file_cache);
  CHECK(a.log == b.log);
  CHECK(a.shutdown == b.shutdown);
  CHECK(a.leaks == b.leaks);
  CHECK(a.admin == b.admin);
  CHECK(a.metrics == b.metrics);
  CHECK(a.trusted_proxies == b.trusted_proxies);
  CHECK(a.listeners == b.listeners);
}

/// What is shown of it loads, means the same, and is shown as itself.
std::string shown(const std::string& text, const std::string& source = "f.yaml",
                  const std::vector<std::string>& overrides = {}) {
  const Outcome before = load_text(text, source, overrides);
  INFO(all(before));
  REQUIRE(before.ok());
  const std::string shown = show_text(text, source, overrides);
  INFO(shown);
  const Outcome after = load(shown);
  INFO(all(after));
  REQUIRE(after.ok());
  check_same(before.config, after.config);
  const Outcome again = load(show_text(shown, "f.yaml"));
  REQUIRE(again.ok());
  check_same(before.config, again.config);
  return shown;
}

bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("what is shown of a configuration means the same", "[config][show]") {
  ::setenv("FIBERD_SHOW_HOME", "a ${HOME} of: its \"own\"", 1);
  (void)shown(default_config(), kBuiltIn);
  const std::string examples = std::string(FIBERD_SOURCE_DIR) + "/config/examples";
  for (const auto& file : std::filesystem::directory_iterator(examples)) {
    if (file.path().extension() != ".yaml") continue;
    const std::string name = file.path().string();
    CAPTURE(name);
    (void)shown(read_file(name), name);
  }
  // Defaults that may not be written where they are.
  (void)shown("memory: {governor: off}\n" + kListener);
  (void)shown("admin: {address: off}\nshutdown: {timeout: 500ms}\n" + kListener);
  (void)shown("admin: {address: \"unix:/tmp/a\"}\nlisteners: [{name: t, address: \"unix:/tmp/b\", tcp: {echo: }}]\n");
  (void)shown("trace: {directory: /tmp, on_latency: 1s}\n" + kListener);
  (void)shown("listeners: [{name: t, address: \":0\", tcp: {handler: x}}]\n");
  const std::string route =
      "{path: /*, respond: {body: \"${host} $$ $${x} ${FIBERD_SHOW_HOME}\"}, headers: {set: {X: \"${client}\"}}, "
      "access_log: {format: json, sample: 0.5}, rate_limit: {rate: 5/s}, cors: {origins: [\"*\"]}}";
  const std::string text = shown("leaks: {ignore: [\"a $${X} ${FIBERD_SHOW_HOME}\"]}\n" + with_route(route));
  CHECK(has(text, R"(ignore: ["a $${X} a $${HOME} of: its \"own\""])"));
}

TEST_CASE("defaults are shown and named as such, --set and the environment are in effect", "[config][show]") {
  ::setenv("FIBERD_SHOW_PORT", "81", 1);
  const std::string text =
      shown("listeners: [{name: t, address: \"127.0.0.1:${FIBERD_SHOW_PORT}\", tcp: {echo: {}}}]\n", "f.yaml",
            {"shutdown.delay=3s"});
  CHECK(has(text, "shutdown:\n  delay: 3s\n  timeout: 30s  # default\n"));
  CHECK(has(text, "    address: \"127.0.0.1:81\"\n"));
  CHECK(has(text, "  # address: \"127.0.0.1:9090\"  # default\n"));
  CHECK(has(text, "      connections: 10000  # default\n"));
  CHECK_FALSE(has(text, "basic_auth"));
}

TEST_CASE("secrets are not shown", "[config][show]") {
  ::setenv("FIBERD_SHOW_API_KEY", "hunter2", 1);
  ::setenv("FIBERD_SHOW_PLAIN", "visible", 1);
  ::setenv("FIBERD_SHOW_DB_PWD", "hunter2", 1);
  const std::string text = show_text(
      "listeners:\n"
      "- {name: a, address: \":80\", http: {headers: {set: {X-Api-Token: hunter2, X-Plain: shown}}, routes: [\n"
      "    {path: /, respond: {body: \"k ${FIBERD_SHOW_API_KEY} ${FIBERD_SHOW_PLAIN} "
      "${FIBERD_SHOW_NO_TOKEN:-hunter2} ${FIBERD_SHOW_DB_PASS:-hunter2}${FIBERD_SHOW_DB_PWD} $$${FIBERD_SHOW_API_KEY} "
      "$${FIBERD_SHOW_API_KEY}\","
      " headers: {Set-Cookie: \"id=hunter2\"}}}]}}\n"
      "- {name: s, address: \":81\", aggregate: {flush: [{prometheus: "
      "\"http://push.example:1/metrics?job=x&token=hunter2\"}]}}\n",
      "f.yaml");
  INFO(text);
  CHECK_FALSE(text.empty());
  CHECK_FALSE(has(text, "hunter2"));
  CHECK(has(text, "\"X-Api-Token\": \"***\""));
  CHECK(has(text, "\"X-Plain\": \"shown\""));
  // Of three dollar signs two are one as text, and behind them stands a variable.
  CHECK(has(text, "k *** visible *** ****** $$*** $${FIBERD_SHOW_API_KEY}"));
  CHECK(has(text, "?job=x&token=***"));
  CHECK(mask_secret("prometheus", "https://me:hunter2@h:1/x@y") == "https://***@h:1/x@y");
  CHECK(mask_secret("location", "//me:hunter2@h/x?key=hunter2&a=b") == "//***@h/x?key=***&a=b");
  CHECK(mask_secret("endpoint", "http://h/x?access_key=1&X-Amz-Signature=2&sig=3&pass=4&pwd=5&monk=6") ==
        "http://h/x?access_key=***&X-Amz-Signature=***&sig=***&pass=***&pwd=***&monk=6");
  CHECK(mask_secret("password", "hunter2") == "***");
  CHECK(mask_secret("X-Auth-Key", "hunter2") == "***");
  CHECK(mask_secret("public_key", "/etc/fiberd/upgrade.pem") == "/etc/fiberd/upgrade.pem");
  CHECK(mask_secret(".key", "application/x-keynote") == "application/x-keynote");
  CHECK(mask_secret("token_file", "/etc/token") == "/etc/token");
}

TEST_CASE("nothing is shown of what is wrong", "[config][show]") {
  CHECK(show_text("listeners: [", "f.yaml").empty());
  CHECK(show_text("a: 1\na: 2\n", "f.yaml").empty());
}
