// Filters of a daemon whose configuration is replaced: requests in flight keep those that they began with, password
// files are read anew, and counters go on.
#include <sys/stat.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <csignal>
#include <memory>
#include <string>
#include <vector>

#include "tests/integration/conversations.hpp"
#include "tests/integration/password_lines.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/decompress.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

/// A listener "web" with these keys of its http, and routes.
std::string filtered_site(const std::string& keys, const std::string& routes) {
  return "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n- {name: web, address: \"127.0.0.1:0\", http: {" + keys +
         "routes: [" + routes + "]}}\n";
}
/// "/" says "in" to those in the password file.
std::string guarded_by(const std::string& users, const std::string& says = "in") {
  return filtered_site("", "{path: /, basic_auth: {file: \"" + users + "\"}, respond: {body: " + says + "}}");
}
Answer ask_with(HttpClient& client, const std::string& path, const std::string& fields = "") {
  const auto answer = client.ask(get(path, fields));
  REQUIRE(answer);
  return *answer;
}

}  // namespace

TEST_CASE("a request keeps the filters that it began with, the next one has the new ones",
          "[integration][daemon][reload][filters]") {
  const auto with = [](const std::string& generation, const std::string& more) {
    return filtered_site("headers: {set: {X-Gen: \"" + generation + "\"}}, " + more,
                         "{path: /collects, handler: collects}, {path: /says, respond: {body: said}}");
  };
  Daemon daemon(with("1", ""), {.program = FIBERD_OWN_HANDLERS});
  HttpClient upload(daemon.port("web"));
  upload.send("POST /collects HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1; }));
  // The head of its answer is made when all of the body is there: long behind the reload.
  CHECK(reload(daemon, with("2", "deny: [127.0.0.1], ")).status == 200);
  HttpClient other(daemon.port("web"));
  const Answer denied = ask_with(other, "/says");
  CHECK(denied.status == 403);
  CHECK(denied.field("X-Gen") == "2");
  upload.send("world");
  const auto done = upload.receive();
  REQUIRE(done);
  CHECK(done->status == 200);
  CHECK(done->body == "10");
  CHECK(done->field("X-Gen") == "1");
  CHECK(ask_with(upload, "/says").status == 403);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("an answer that is being compressed is ended as it began when compression is gone",
          "[integration][daemon][reload][filters]") {
  const TemporaryDirectory dir;
  std::string text;
  unsigned noise = 1;
  while (text.size() < (std::size_t{8} << 20U)) {  // compresses, and not to what fits into sockets' buffers
    noise = noise * 1'103'515'245U + 12'345U;
    text += std::to_string(noise) + "\n";
  }
  dir.write("big.txt", text);
  const std::string files = "{path: /*, files: {root: \"" + dir.path() + "\"}}";
  Daemon daemon(filtered_site("compress: {codings: [gzip], level: {gzip: 1}}, ", files));
  HttpClient slow(daemon.port("web"), 4096, 60s);
  slow.send(get("/big.txt", "Accept-Encoding: gzip\r\n"));
  REQUIRE(slow.more());
  CHECK(daemon.metric("fiberd_http_compressed_total{listener=\"web\"}") == 1.0);
  CHECK(reload(daemon, filtered_site("", files)).status == 200);
  HttpClient other(daemon.port("web"), 0, 60s);
  const Answer plain = ask_with(other, "/big.txt", "Accept-Encoding: gzip\r\n");
  CHECK(plain.field("Content-Encoding").empty());
  CHECK((plain.body == text));
  const auto rest = slow.receive();
  REQUIRE(rest);
  CHECK(rest->field("Content-Encoding") == "gzip");
  CHECK((decompress("gzip", rest->body) == text));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a reload reads the password file anew, and refuses one that is gone or protects nothing",
          "[integration][daemon][reload][filters]") {
  const TemporaryDirectory dir;
  const std::string users = dir.write("users", kUser);
  const std::string yaml = guarded_by(users);
  Daemon daemon(yaml);
  HttpClient client(daemon.port("web"));
  CHECK(ask_with(client, "/", kAsUser).body == "in");
  CHECK(ask_with(client, "/", kAsOther).status == 401);
  // Not a line of the configuration is another, but the file is.
  dir.write("users", kOther);
  CHECK(reload(daemon, yaml).status == 200);
  CHECK(ask_with(client, "/", kAsUser).status == 401);  // though it was known to be right a moment ago
  CHECK(ask_with(client, "/", kAsOther).body == "in");
  for (const char* const bad : {"", "user:plain\n", "user:$1$abc$def\n"}) {
    INFO(bad);
    if (*bad == '\0')
      ::unlink(users.c_str());
    else
      dir.write("users", bad);
    const Answer refused = reload(daemon, yaml);
    CHECK(refused.status == 422);
    CHECK(refused.body.find("fiberd.yaml:3:") != std::string::npos);
    CHECK(refused.body.find("http.routes[0].basic_auth.file: " + users + ": ") != std::string::npos);
    CHECK(refused.body.find(*bad == '\0' ? "No such file" : "line 1") != std::string::npos);
    CHECK(ask_with(client, "/", kAsOther).body == "in");
  }
  dir.write("users", kUser);
  CHECK(reload(daemon, yaml).status == 200);
  CHECK(ask_with(client, "/", kAsUser).body == "in");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a password file that vanishes while the daemon runs leaves in who was in it, and is counted",
          "[integration][daemon][filters]") {
  const TemporaryDirectory dir;
  const std::string users = dir.write("users", kUser + kOther);
  Daemon daemon(guarded_by(users));
  HttpClient client(daemon.port("web"));
  CHECK(ask_with(client, "/", kAsUser).body == "in");
  ::unlink(users.c_str());
  CHECK(eventually([&] {
    (void)ask_with(client, "/", kAsUser);
    return daemon.metric("fiberd_http_password_file_errors_total{listener=\"web\"}").value_or(0) >= 1.0;
  }));
  CHECK(ask_with(client, "/", kAsOther).body == "in");
  CHECK(daemon.wait_for_log("password file " + users + ": "));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a password that is being hashed during a reload is judged by the file that it was asked of",
          "[integration][daemon][reload][filters]") {
  const TemporaryDirectory dir;
  const std::string users = dir.write("users", kSlow);
  const auto yaml = [&](const std::string& body) { return guarded_by(users, body); };
  Daemon daemon(yaml("one"));
  // More than are hashed at once, so that some of them still wait behind several reloads.
  std::vector<std::unique_ptr<HttpClient>> clients;
  for (int i = 0; i < 6; ++i) {
    clients.push_back(std::make_unique<HttpClient>(daemon.port("web"), 0, 60s));
    clients.back()->send(get("/", kAsSlow));
  }
  CHECK(eventually(
      [&] { return daemon.metric("fiberd_http_passwords_checked_total{listener=\"web\"}").value_or(0) >= 1.0; }));
  for (const char* const body : {"two", "three", "four"}) CHECK(reload(daemon, yaml(body)).status == 200);
  for (const auto& client : clients) {
    const auto answer = client->receive();
    REQUIRE(answer);
    CHECK(answer->status == 401);
  }
  CHECK(daemon.metric("fiberd_bugs_total") == 0.0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what filters count goes on over reloads that change, drop and bring back the filter",
          "[integration][daemon][reload][filters]") {
  const std::string route = "{path: /, respond: {body: x}}";
  const std::string refused = "fiberd_http_filter_refused_total{listener=\"web\",reason=\"address\"}";
  Daemon daemon(filtered_site("deny: [127.0.0.0/8], ", route));
  const std::uint16_t port = daemon.port("web");
  const auto status = [&] {
    HttpClient client(port);
    return ask_with(client, "/").status;
  };
  CHECK(status() == 403);
  CHECK(daemon.metric(refused) == 1.0);
  CHECK(reload(daemon, filtered_site("deny: [127.0.0.1], ", route)).status == 200);
  CHECK(status() == 403);
  CHECK(daemon.metric(refused) == 2.0);
  CHECK(reload(daemon, filtered_site("", route)).status == 200);
  CHECK(status() == 200);
  CHECK(daemon.metric(refused) == 2.0);  // a scraper still sees the last of it, for a while
  CHECK(reload(daemon, filtered_site("deny: [127.0.0.1], ", route)).status == 200);
  CHECK(status() == 403);
  CHECK(daemon.metric(refused) == 3.0);
  // Of a reload that is refused nothing is left, and nothing is lost.
  CHECK(reload(daemon, filtered_site("deny: [127.0.0.1], allow: [127.0.0.1/8], ", route)).status == 422);
  CHECK(status() == 403);
  CHECK(daemon.metric(refused) == 4.0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("series of filters of listeners that come and go do not pile up", "[integration][daemon][reload][filters]") {
  const auto with = [](int n) {
    return filtered_site("deny: [127.0.0.2], compress: {}, ", "{path: /, respond: {body: x}}") + "- {name: other" +
           std::to_string(n) +
           ", address: \"127.0.0.1:0\", http: {deny: [127.0.0.1], routes: [{path: /, respond: {body: y}}]}}\n";
  };
  const auto series = [](const Daemon& daemon) {
    const std::string page = daemon.admin("/metrics");
    std::size_t n = 0;
    for (std::size_t at = 0; (at = page.find("\nfiberd_http_filter_refused_total{", at)) != std::string::npos; ++at)
      ++n;
    return n;
  };
  Daemon daemon(with(0));
  CHECK(series(daemon) == 10);  // five reasons, of two listeners
  for (int n = 1; n <= 40; ++n) REQUIRE(reload(daemon, with(n)).status == 200);
  // 200 have gone; of those that nobody has any more 64 are shown for a while, and the last listener may still be
  // going.
  CHECK(series(daemon) <= 10 + 64 + 10);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("10,000 addresses in X-Forwarded-For are read from the right, and refused by default",
          "[integration][daemon][filters]") {
  std::string chain = "203.0.113.9";
  for (int i = 0; i < 10'000; ++i) chain += ",10.0.0.7";
  const std::string said = "{path: /, respond: {body: \"${client}\"}}";
  const auto trusting = [](const std::string& yaml) { return "trusted_proxies: [127.0.0.1, 10.0.0.0/8]\n" + yaml; };
  {
    Daemon daemon(trusting(filtered_site("", said)));
    HttpClient client(daemon.port("web"));
    const auto answer = client.ask(get("/", "X-Forwarded-For: " + chain + "\r\n"));
    REQUIRE(answer);
    CHECK(answer->status == 431);
    HttpClient next(daemon.port("web"));
    CHECK(ask_with(next, "/", "X-Forwarded-For: 203.0.113.9,10.0.0.7\r\n").body == "203.0.113.9");
    CHECK(daemon.stop() == 0);
  }
  Daemon daemon(trusting(filtered_site("limits: {header_size: 512KiB}, deny: [203.0.113.8], ", said)));
  HttpClient client(daemon.port("web"));
  CHECK(ask_with(client, "/", "X-Forwarded-For: " + chain + "\r\n").body == "203.0.113.9");
  CHECK(ask_with(client, "/", "X-Forwarded-For: 203.0.113.8, " + chain + "\r\n").body == "203.0.113.9");
  // The same in as many fields as a request may have.
  std::string fields = "X-Forwarded-For: 203.0.113.8\r\n";
  for (int i = 0; i < 90; ++i) {
    fields += "X-Forwarded-For: 10.0.0.1";
    for (int j = 0; j < 110; ++j) fields += ",10.0.0.2";
    fields += "\r\n";
  }
  CHECK(ask_with(client, "/", fields).status == 403);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what is no regular file holds nobody up: not a check, not a reload, not the stop",
          "[integration][daemon][reload][filters]") {
  const TemporaryDirectory dir;
  const std::string users = dir.write("users", kUser);
  const std::string yaml = guarded_by(users);
  Daemon daemon(yaml);
  HttpClient client(daemon.port("web"));
  CHECK(ask_with(client, "/", kAsUser).body == "in");
  REQUIRE(::unlink(users.c_str()) == 0);
  REQUIRE(::mkfifo(users.c_str(), 0600) == 0);
  static constexpr const char* kWhy = "it is a pipe, a device or a socket, and no regular file";
  const Answer refused = reload(daemon, yaml);
  CHECK(refused.status == 422);
  CHECK(refused.body.find(users + ": " + kWhy) != std::string::npos);
  const Finished checked = run({FIBERD_BINARY, "check", daemon.config_file()});
  CHECK(checked.code == 2);
  CHECK(checked.errors.find(users + ": " + kWhy) != std::string::npos);
  CHECK(eventually([&] {
    (void)ask_with(client, "/", kAsUser);
    return daemon.metric("fiberd_http_password_file_errors_total{listener=\"web\"}").value_or(0) >= 1.0;
  }));
  CHECK(ask_with(client, "/", kAsUser).body == "in");
  REQUIRE(::unlink(users.c_str()) == 0);
  dir.write("users", kOther);
  // What kept us from reading it is over.
  CHECK(eventually([&] { return ask_with(client, "/", kAsOther).body == "in"; }));
  CHECK(ask_with(client, "/", kAsUser).status == 401);
  // The configuration itself.
  REQUIRE(::unlink(daemon.config_file().c_str()) == 0);
  REQUIRE(::mkfifo(daemon.config_file().c_str(), 0600) == 0);
  daemon.process().signal(SIGHUP);
  CHECK(daemon.wait_for_log(daemon.config_file() + ": cannot be read: " + kWhy));
  CHECK(daemon.stop() == 0);
}
