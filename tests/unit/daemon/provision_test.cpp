// What a machine and an environment lack for a configuration, as `check` and `run` say it.
#include "daemon/provision.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <thread>

#include "daemon/memory_guard.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/no_descriptors.hpp"

using namespace fiberd;
using namespace fiberd::daemon;

namespace {

namespace fs = std::filesystem;

/// All lines that check would print, the loader's too.
std::vector<std::string> said(const std::string& yaml, const std::vector<std::string>& overrides = {}) {
  config::Outcome outcome = config::load_text(yaml, "f.yaml", overrides);
  for (Flaw& flaw : provision(outcome, Handlers())) outcome.diagnostics.push_back(std::move(flaw.diagnostic));
  std::vector<std::string> lines;
  for (const config::Diagnostic& d : outcome.diagnostics) lines.push_back(d.to_string());
  return lines;
}

std::string route(const std::string& action) {
  return "admin: {address: off}\nlisteners: [{name: w, address: \"127.0.0.1:0\", http: {routes: [{path: /*, " + action +
         "}]}}]\n";
}

/// On a thread that has no more rights than nobody: capabilities are a thread's, and go with its user.
template <class F>
void as_nobody(F fn) {
  std::thread([&] {
    static constexpr unsigned kNobody = 65534;
    if (::geteuid() == 0 && ::syscall(SYS_setresuid, -1, kNobody, -1) != 0) return;
    fn();
  }).join();
}

/// The environment's variable while it lives.
class Environment {
 public:
  Environment(const char* name, const char* value) : name_(name) {
    if (const char* const old = std::getenv(name)) old_ = old;
    ::setenv(name, value, 1);
  }
  ~Environment() {
    if (old_)
      ::setenv(name_, old_->c_str(), 1);
    else
      ::unsetenv(name_);
  }
  Environment(const Environment&) = delete;
  Environment& operator=(const Environment&) = delete;

 private:
  const char* name_;
  std::optional<std::string> old_;
};

}  // namespace

TEST_CASE("provision: a root below which its user may see nothing, and one that he may not list",
          "[daemon][provision]") {
  const test::TemporaryDirectory directory;
  fs::permissions(directory.path(), fs::perms(0755));
  const std::string root = directory.path() + "/root";
  fs::create_directory(root);
  const auto asked = [&](unsigned mode, const char* listing) {
    fs::permissions(root, fs::perms(mode));
    std::vector<std::string> lines{"not asked"};
    as_nobody([&] { lines = said(route("files: {root: " + root + ", listing: " + listing + "}")); });
    fs::permissions(root, fs::perms(0755));
    return lines;
  };
  CHECK(asked(0755, "true").empty());
  CHECK(asked(0111, "false").empty());
  for (const auto& lines : {asked(0, "false"), asked(0, "true"), asked(0111, "true")}) {
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find("routes[0].files.root: " + root + ": Permission denied") != std::string::npos);
  }
}

TEST_CASE("provision: a wrong value in an action is told once, at its own place", "[daemon][provision]") {
  for (const auto& [action, key] : {std::pair("respond: {status: 999}", "respond.status"),
                                    std::pair("respond: {headers: {\"a b\": c}}", "respond.headers.a b"),
                                    std::pair("redirect: {location: /x, status: 304}", "redirect.status"),
                                    std::pair("files: {root: /, cache_control: \"a\\nb\"}", "files.cache_control")}) {
    INFO(action);
    const std::vector<std::string> lines = said(route(action));
    REQUIRE(lines.size() == 1);
    CHECK(lines[0].find(std::string("routes[0].") + key + ": ") != std::string::npos);
  }
  // What this machine lacks is told beside it.
  const std::vector<std::string> both = said(route("timeout: never, files: {root: /no/such/root}"));
  CHECK(both.size() == 2);
  // Nor are routes that exclude each other told at the first of them.
  const std::vector<std::string> routes = said(route("echo: {}}, {path: /a, echo: {}}, {path: /a, echo: {}"));
  REQUIRE(routes.size() == 1);
  CHECK(routes[0].find("routes[2].path: ") != std::string::npos);
}

TEST_CASE("provision: what the environment says is told by check, too", "[daemon][provision]") {
  const config::Outcome outcome = config::load_text(route("echo: {}"), "f.yaml");
  REQUIRE(outcome.ok());
  const Environment none("GOMAXPROCS", "");
  const Environment unlimited("GOMEMLIMIT", "off");
  const std::size_t before = forewarn(outcome.config).size();
  const auto warns = [&](const char* text) {
    const std::vector<std::string> lines = forewarn(outcome.config);
    return std::any_of(lines.begin(), lines.end(),
                       [&](const std::string& line) { return line.find(text) != std::string::npos; });
  };
  {
    const Environment odd("GOMAXPROCS", "abc");
    CHECK(warns("GOMAXPROCS=\"abc\" in the environment is not a positive integer; it is passed over"));
  }
  {
    const Environment little("GOMEMLIMIT", "1MiB");
    CHECK(warns("GOMEMLIMIT=1MiB is less than 16MiB"));
    CHECK(find_memory_limit(0).bytes == std::uint64_t{1} << 20U);
  }
  {
    const Environment odd("GOMEMLIMIT", "1GB");
    CHECK(warns("GOMEMLIMIT=1GB is no size like 512MiB, nor off; it is passed over"));
    CHECK(find_memory_limit(77).bytes == 77);
    CHECK(find_memory_limit(0).bytes == 0);  // the control group's limits are others
  }
  CHECK(forewarn(outcome.config).size() == before);
  CHECK(find_memory_limit(77).bytes == 0);  // off wins over the configuration, as any value does
  const Environment much("GOMAXPROCS", "5000");
  const std::vector<std::string> refused = said(route("echo: {}"));
  REQUIRE(refused.size() == 1);
  CHECK(refused[0].starts_with("environment: GOMAXPROCS=\"5000\""));
}

TEST_CASE("provision: a number of Processors that is out of range is told once", "[daemon][provision]") {
  const Environment none("GOMAXPROCS", "");
  const std::vector<std::string> lines = said(route("echo: {}"), {"runtime.gomaxprocs=2000"});
  REQUIRE(lines.size() == 1);
  CHECK(lines[0].starts_with("--set: runtime.gomaxprocs: 2000 is out of range"));
}

TEST_CASE("provision: where a directory is missing it is named, with the remedy", "[daemon][provision]") {
  const test::TemporaryDirectory directory;
  const std::string missing = directory.path() + "/run";
  const std::vector<std::string> lines =
      said("log: {output: " + missing + "/log}\nadmin: {address: \"unix:" + missing +
           "/admin\"}\nlisteners: [{name: w, address: \"127.0.0.1:0\", tcp: {echo: {}}}]\n");
  REQUIRE(lines.size() == 2);
  for (const std::string& line : lines)
    CHECK(line.find("directory (" + missing + "); make the directory") != std::string::npos);
}

TEST_CASE("what cannot be opened just now is missing from what is provided, and is told to who wants to serve it",
          "[daemon][provision]") {
  const test::TemporaryDirectory dir;
  const std::string users = dir.write("users", "u:$2y$04$8mXlPNoWfA0eIyI2TDs2AeJWaIk9XMkGrRkQIMFzfqCcWG9d7SiCe\n");
  const std::string page = dir.write("page.html", "sorry");
  const std::string secret = "basic_auth: {file: \"" + users + "\"}, error_pages: {404: \"" + page +
                             "\"}, files: {root: \"" + dir.path() + "\"}";
  const config::Outcome outcome = config::load_text(route(secret), "f.yaml");
  REQUIRE(outcome.ok());
  const Handlers handlers;
  std::vector<Flaw> looked;
  std::vector<Flaw> wanted;
  Provided provided;
  {
    const test::NoDescriptors none;
    looked = provision(outcome, handlers);
    wanted = provision(outcome, handlers, &provided);
  }
  CHECK(looked.empty());  // of `check`, or of a first look that is thrown away
  std::vector<std::string> keys;
  for (const Flaw& flaw : wanted) {
    CHECK(flaw.error == std::errc::too_many_files_open);
    // The address is tried with a socket, too.
    if (const std::size_t at = flaw.diagnostic.key.find("routes"); at != std::string::npos)
      keys.push_back(flaw.diagnostic.key.substr(at));
  }
  std::sort(keys.begin(), keys.end());
  CHECK(keys ==
        std::vector<std::string>{"routes[0].basic_auth.file", "routes[0].error_pages.404", "routes[0].files.root"});
  REQUIRE(provided.http.size() == 1);
  CHECK_FALSE(provided.http[0].whole);
  Provided again;
  CHECK(provision(outcome, handlers, &again).empty());
  REQUIRE(again.http.size() == 1);
  CHECK(again.http[0].whole);
}

TEST_CASE("one wrong value is told once, at its own place, and in one line", "[daemon][provision]") {
  const test::TemporaryDirectory dir;
  const std::string users = dir.write("users", "u:$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW\n");
  const std::string head = "admin: {address: off}\nlisteners: [{name: w, address: \"127.0.0.1:0\", http: {";
  const auto expect = [&](const std::string& http, const std::string& key) {
    const std::vector<std::string> lines = said(head + http + "}}]\n");
    INFO(http);
    REQUIRE(lines.size() == 1);
    INFO(lines[0]);
    CHECK(lines[0].find(key + ": ") != std::string::npos);
    CHECK(lines[0].find_first_of("\r\n") == std::string::npos);
  };
  expect("server: \"a\\r\\nX: 1\", routes: [{path: /, respond: {body: x}}]", "http.server");
  for (const char* const realm : {"a\\nb", "caf\\u00e9"})
    expect("routes: [{path: /, respond: {body: x}, basic_auth: {file: \"" + users + "\", realm: \"" + realm + "\"}}]",
           "basic_auth.realm");
  expect("mime_types: {\".x\": \"text/html\\nX: y\"}, routes: [{path: /, respond: {body: x}}]", "mime_types..x");
}
