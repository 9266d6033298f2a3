// Profiles of a running daemon as tools, people and scrapers meet them.
#include <unistd.h>

#include <catch2/catch.hpp>
#include <chrono>
#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

constexpr const char* kHogConfig =
    "admin: {address: \"127.0.0.1:0\"}\n"
    "listeners:\n"
    "  - name: web\n    address: \"127.0.0.1:0\"\n"
    "    http: {request_id: {}, routes: [{path: /hog, handler: hog}]}\n";

/// It spends 2.5 s of CPU.
void begin_to_burn(HttpClient& client) { REQUIRE(client.send("GET /hog HTTP/1.1\r\nHost: a\r\n\r\n")); }

std::string go_pprof(const TemporaryDirectory& directory, const std::string& profile,
                     std::vector<std::string> options) {
  const std::string file = directory.write("profile.pb.gz", profile);
  std::vector<std::string> command{"go", "tool", "pprof"};
  command.insert(command.end(), options.begin(), options.end());
  command.push_back(file);
  const Finished finished = run({.arguments = command, .environment = {{"HOME", directory.path()}}});
  CHECK(finished.code == 0);
  return finished.output + finished.errors;
}

bool profile_says(const std::string& text, const std::string& part) {
  INFO(text << "\nhas no " << part);
  const bool found = text.find(part) != std::string::npos;
  CHECK(found);
  return found;
}

}  // namespace

TEST_CASE("a CPU profile names the functions, with their route, listener, fiber and request",
          "[integration][admin][profiles]") {
  Daemon daemon(kHogConfig, {.program = FIBERD_HOG});
  HttpClient client(daemon.port("web"));
  begin_to_burn(client);
  const std::string profile = daemon.admin("/debug/pprof/profile?seconds=1");
  REQUIRE_FALSE(profile.empty());
  const TemporaryDirectory directory;
  const std::string top = go_pprof(directory, profile, {"-top", "-nodecount=40"});
  profile_says(top, "Type: cpu");
  profile_says(top, "hog::spend_time");
  if (!kThreadSanitizer) {  // which delivers signals at its own points
    // Most of it is spent in one, static, function.
    const std::size_t first = top.find("cum%\n");
    REQUIRE(first != std::string::npos);
    const std::string line = top.substr(first + 5, top.find('\n', first + 5) - first - 5);
    profile_says(line, "burn_in_static");
  }
  const std::string tags = go_pprof(directory, profile, {"-tags"});
  profile_says(tags, "route: Total");
  profile_says(tags, "/hog");
  profile_says(tags, "listener: Total");
  profile_says(tags, "request_id: Total");
  profile_says(tags, "fiber: Total");
  profile_says(tags, "tenant: Total");
  profile_says(go_pprof(directory, profile, {"-comments"}), " samples, 0 lost; one took ");
  CHECK(client.receive());
  CHECK(daemon.stop() == 0);
}

TEST_CASE("go tool pprof opens every profile that the index lists", "[integration][admin][profiles]") {
  Daemon daemon(kHogConfig, {.program = FIBERD_HOG});
  const std::string index = daemon.admin("/debug/pprof/");
  const TemporaryDirectory directory;
  unsigned count = 0;
  std::istringstream lines(index);
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.substr(0, line.find(' '));
    if (line.empty() || name.empty() || name.find('/') != std::string::npos || line.find("  ") == std::string::npos)
      continue;
    INFO(name);
    if (name == "symbol" || name == "cmdline" || name == "POST") continue;
    ++count;
    const std::string profile = daemon.admin("/debug/pprof/" + name + (name == "profile" ? "?seconds=1" : ""));
    REQUIRE_FALSE(profile.empty());
    profile_says(go_pprof(directory, profile, {"-raw"}), "Mappings");
    if (name != "profile") CHECK_FALSE(daemon.admin("/debug/pprof/" + name + "?debug=1").empty());
    if (name == "goroutineleak") continue;
    CHECK(daemon.admin("/debug/flame?profile=" + (name == "profile" ? "cpu&seconds=1" : name)).starts_with("<?xml"));
  }
  CHECK(count >= 3);
  CHECK(index.find("\ngoroutineleak ") != std::string::npos);
  profile_says(go_pprof(directory, daemon.admin("/debug/pprof/threadcreate"), {"-top"}),
               "fiberd::runtime::Scheduler::");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("addresses are named as Go's symbol page does it", "[integration][admin][profiles]") {
  Daemon daemon(kHogConfig, {.program = FIBERD_HOG});
  CHECK(daemon.admin("/debug/pprof/symbol") == "num_symbols: 1\n");
  const std::string grouped = daemon.admin("/debug/pprof/goroutine?debug=1");
  const std::size_t at = grouped.find("0x");
  REQUIRE(at != std::string::npos);
  const std::string address = grouped.substr(at, grouped.find_first_of(" \n", at) - at);
  const std::string by_get = daemon.admin("/debug/pprof/symbol?" + address + "+0x1+nonsense+" + address);
  INFO(by_get);
  const std::size_t first = by_get.find(address + " ");
  REQUIRE(first != std::string::npos);
  CHECK(by_get.find(address + " ", first + 1) != std::string::npos);
  CHECK(by_get.find("0x1 ") == std::string::npos);
  HttpClient client(daemon.port("admin"));
  const std::string body = address + "+" + address;
  const auto by_post = client.ask("POST /debug/pprof/symbol HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: " +
                                  std::to_string(body.size()) + "\r\n\r\n" + body);
  REQUIRE(by_post);
  CHECK(by_post->body == by_get);
  CHECK(daemon.stop() == 0);
}

/// A thread of the profile's own looks at the others. (Asking for a profile would be one, for who comes next to be
/// refused.)
static bool is_profiled(Daemon& daemon) {
  const std::string sleeping = daemon.admin("/debug/fibers?debug=2&name=admin&state=sleep");
  return sleeping.find("fiberd::context::") != std::string::npos;
}

TEST_CASE("of two CPU profiles at a time the second is refused; one whose client has left ends",
          "[integration][admin][profiles]") {
  Daemon daemon(std::string("shutdown: {timeout: 2s}\n") + kHogConfig, {.program = FIBERD_HOG});
  for (const char* wrong : {"seconds=0", "seconds=301", "seconds=-1", "seconds=x", "seconds=", "hz=0", "hz=1001"}) {
    INFO(wrong);
    CHECK(daemon.admin_status("/debug/pprof/profile?" + std::string(wrong)) == 400);
    CHECK(daemon.admin_status("/debug/flame?profile=cpu&" + std::string(wrong)) == 400);
  }
  CHECK(daemon.admin_status("/debug/flame?profile=%3Cscript%3E") == 400);
  // Before anything is sampled.
  for (const char* wrong : {"debug=x", "debug=-1", "debug=3", "debug="})
    for (const char* page :
         {"profile", "heap", "allocs", "block", "mutex", "threadcreate", "goroutine", "goroutineleak"}) {
      INFO(page << "?" << wrong);
      CHECK(daemon.admin_status("/debug/pprof/" + std::string(page) + "?" + wrong + "&seconds=300") == 400);
    }
  CHECK(daemon.admin_status("/debug/flame?profile=goroutine&type=none") == 400);
  {
    HttpClient first(daemon.port("admin"));
    REQUIRE(first.send(get_admin("/debug/pprof/profile?seconds=300", "")));
    CHECK(eventually([&] { return is_profiled(daemon); }));
    CHECK(daemon.admin_status("/debug/pprof/profile?seconds=1") == 409);
    CHECK(daemon.admin_status("/debug/flame?profile=cpu&seconds=1") == 409);
  }
  CHECK(eventually([&] { return daemon.admin_status("/debug/pprof/profile?seconds=1") == 200; }));
  // Nor does a stop wait for one.
  HttpClient last(daemon.port("admin"));
  REQUIRE(last.send(get_admin("/debug/pprof/profile?seconds=300", "")));
  CHECK(eventually([&] { return is_profiled(daemon); }));
  CHECK(daemon.admin_status("/debug/pprof/profile?seconds=1") == 409);
  CHECK(daemon.stop().has_value());
}

TEST_CASE("the flame graph of a known hog names it first, and brings all that it needs",
          "[integration][admin][profiles]") {
  Daemon daemon(kHogConfig, {.program = FIBERD_HOG});
  HttpClient client(daemon.port("web"));
  begin_to_burn(client);
  HttpClient admin(daemon.port("admin"));
  const auto answer = admin.ask(get_admin("/debug/flame?profile=cpu&seconds=1", ""));
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->field("Content-Type") == "image/svg+xml");
  const std::string policy(answer->field("Content-Security-Policy"));
  profile_says(policy, "default-src 'none'; script-src 'nonce-");
  const std::size_t at = policy.find("nonce-") + 6;
  profile_says(answer->body, "<script nonce=\"" + policy.substr(at, policy.find('\'', at) - at) + "\">");
  if (!kThreadSanitizer) profile_says(answer->body, "most by itself: burn_in_static");
  profile_says(answer->body, "<title>hog::spend_time");
  // Nothing is fetched: what looks like an address names the languages.
  std::size_t addresses = 0;
  for (std::size_t i = answer->body.find("://"); i != std::string::npos; i = answer->body.find("://", i + 1))
    ++addresses;
  CHECK(addresses == 2);
  CHECK(answer->body.find(" src=") == std::string::npos);
  CHECK(answer->body.find("href=") == std::string::npos);
  CHECK(client.receive());
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a stripped program with its debug file beside it names its static functions, too",
          "[integration][admin][profiles]") {
  const TemporaryDirectory place;
  const std::string program = place.path() + "/hog";
  const std::string debug = place.path() + "/hog.debug";
  REQUIRE(run({"objcopy", "--only-keep-debug", FIBERD_HOG, debug}).code == 0);
  REQUIRE(run({"objcopy", "--strip-all", "--add-gnu-debuglink=" + debug, FIBERD_HOG, program}).code == 0);
  for (const bool there : {true, false}) {
    INFO("debug file: " << there);
    if (!there) REQUIRE(::unlink(debug.c_str()) == 0);
    Daemon daemon(kHogConfig, {.program = program});
    HttpClient client(daemon.port("web"));
    begin_to_burn(client);
    const std::string top =
        go_pprof(place, daemon.admin("/debug/pprof/profile?seconds=1"), {"-top", "-nodecount=40", "-symbolize=none"});
    INFO(top);
    CHECK((top.find("burn_in_static") != std::string::npos) == there);
    profile_says(top, "hog::spend_time");  // the dynamic linker knows it
    CHECK(client.receive());
    CHECK(daemon.stop() == 0);
  }
}

TEST_CASE("a program whose file was replaced while it runs names its functions from what it was",
          "[integration][admin][profiles]") {
  const TemporaryDirectory place;
  const std::string program = place.path() + "/hog";
  REQUIRE(run({"cp", FIBERD_HOG, program}).code == 0);
  Daemon daemon(kHogConfig, {.program = program});
  // As a package's upgrade does it: by another program, with functions of its own at these addresses.
  REQUIRE(run({"cp", FIBERD_BINARY, program + ".new"}).code == 0);
  REQUIRE(::rename((program + ".new").c_str(), program.c_str()) == 0);
  HttpClient client(daemon.port("web"));
  begin_to_burn(client);
  const std::string profile = daemon.admin("/debug/pprof/profile?seconds=1");
  profile_says(go_pprof(place, profile, {"-top", "-nodecount=40", "-symbolize=none"}), "burn_in_static");
  const std::string raw = go_pprof(place, profile, {"-raw", "-symbolize=none"});
  profile_says(raw, " " + program + " ");
  CHECK(raw.find("(deleted)") == std::string::npos);
  CHECK(client.receive());
  CHECK(daemon.stop() == 0);
}

// npm's package is fetched: not in every run.
TEST_CASE("npm's pprof-format decodes every profile", "[.nightly][integration][admin][profiles]") {
  const TemporaryDirectory place;
  const Finished installed =
      run({.arguments = {"npm", "install", "--silent", "--prefix", place.path(), "pprof-format@2"},
           .environment = {{"HOME", place.path()}}},
          120s);
  INFO(installed.output << installed.errors);
  REQUIRE(installed.code == 0);
  const std::string script = place.write("decode.js", R"(
const {Profile} = require('pprof-format');
const zlib = require('zlib'), fs = require('fs');
const p = Profile.decode(zlib.gunzipSync(fs.readFileSync(process.argv[2])));
const text = (i) => p.stringTable.strings[Number(i)];
console.log('types ' + p.sampleType.map((t) => text(t.type)).join(','));
console.log('samples ' + p.sample.length);
for (const f of p.function) console.log('function ' + text(f.name));
)");
  Daemon daemon(kHogConfig, {.program = FIBERD_HOG});
  HttpClient client(daemon.port("web"));
  begin_to_burn(client);
  const auto decoded = [&](const std::string& page) {
    const Finished done = run({"node", script, place.write("p", daemon.admin("/debug/pprof/" + page))});
    INFO(page << done.errors);
    CHECK(done.code == 0);
    return done.output;
  };
  const std::string cpu = decoded("profile?seconds=1");
  profile_says(cpu, "types samples,cpu\n");
  profile_says(cpu, "function burn_in_static");
  profile_says(decoded("goroutine"), "function fiberd::runtime::");
  profile_says(decoded("threadcreate"), "types threadcreate\n");
  std::istringstream lines(daemon.admin("/debug/pprof/"));
  for (std::string line; std::getline(lines, line);) {
    const std::string name = line.substr(0, line.find(' '));
    for (const char* more : {"heap", "allocs", "block", "mutex", "goroutineleak"})
      if (name == more) profile_says(decoded(name), "types ");
  }
  CHECK(daemon.stop().has_value());
}
