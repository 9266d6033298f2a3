// Who may ask the daemon how it is, what he may change, and at which address the metrics are alone.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <catch2/catch.hpp>
#include <memory>
#include <string>
#include <vector>

#include "tests/support/daemon.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;

namespace {

const std::string kWeb =
    "listeners:\n  - {name: web, address: \"127.0.0.1:0\", http: {routes: [{path: /, echo: {}}]}}\n";
const std::string kToken = "0123456789abcdef0123456789abcdef";

std::string bearer(const std::string& token) { return "Authorization: Bearer " + token + "\r\n"; }

std::string post(const std::string& target, const std::string& fields = {}) {
  return "POST " + target + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + fields + "Content-Length: 0\r\n\r\n";
}

/// On a connection of its own.
Answer ask(std::uint16_t port, const std::string& request) {
  HttpClient client(port);
  const auto answer = client.ask(request);
  return answer ? *answer : Answer{};
}

/// The same by a Unix socket; the whole answer. Empty: nobody takes the connection.
std::string ask(const std::string& path, const std::string& request) {
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  path.copy(to.sun_path, sizeof to.sun_path - 1);
  std::string answer;
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0 &&
      ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size())) {
    (void)::shutdown(fd, SHUT_WR);
    char buffer[4096];
    for (ssize_t n = 0; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;)
      answer.append(buffer, static_cast<std::size_t>(n));
  }
  ::close(fd);
  return answer;
}

}  // namespace

TEST_CASE("beyond loopback the admin listener needs a token, and check says so, too", "[integration][admin][check]") {
  const TemporaryDirectory directory;
  const std::string token = directory.write("token", kToken + "\n");
  const std::string brief = directory.write("brief", "short\n");
  const std::string words = directory.write("words", "a token of several words\n");
  const std::string large = directory.write("large", std::string(4'097, 'x'));
  const std::string largest = directory.write("largest", std::string(4'096, 'x'));
  struct Case {
    std::string admin;
    std::string says;  // empty: it is right
  };
  const std::vector<Case> cases{
      {"address: \"127.0.0.2:0\"", ""},
      {"address: \"[::1]:0\"", ""},
      {"address: \"[::ffff:127.0.0.1]:0\"", ""},
      {"address: \"unix:@/a\"", ""},
      {"address: \"unix:@/a\", mode: 0660", ""},
      {"address: \"0.0.0.0:0\"", "admin.address: 0.0.0.0:0 is reached from other machines"},
      {"address: \":0\"", "needs admin.token_file"},
      {"address: \"[::]:0\"", "needs admin.token_file"},
      {"address: \"192.0.2.1:0\"", "metrics.address"},
      {"address: \"unix:@/a\", mode: 0666", "admin.mode: lets everybody of this machine ask"},
      {"address: \"0.0.0.0:0\", token_file: " + token, ""},
      {"address: \"unix:@/a\", mode: 0666, token_file: " + largest, ""},
      {"address: \"127.0.0.1:0\", token_file: @/nowhere", "admin.token_file: @/nowhere: "},
      {"address: \"127.0.0.1:0\", token_file: @", "admin.token_file: @: "},
      {"address: \"127.0.0.1:0\", token_file: " + brief, "16 bytes at least"},
      {"address: \"127.0.0.1:0\", token_file: " + words, "one word of printable ASCII"},
      {"address: \"127.0.0.1:0\", token_file: " + large, "4096 bytes at most"},
      {"address: off, token_file: " + token, "address is off"},
  };
  for (Case one : cases) {
    for (std::string* const text : {&one.admin, &one.says})
      for (std::size_t at = text->find('@'); at != std::string::npos;
           at = text->find('@', at + directory.path().size()))
        text->replace(at, 1, directory.path());
    INFO(one.admin);
    const std::string file = directory.write("f.yaml", "admin: {" + one.admin + "}\n" + kWeb);
    const Finished checked = run({FIBERD_BINARY, "check", file});
    INFO(checked.errors);
    CHECK(checked.code == (one.says.empty() ? 0 : 2));
    CHECK(checked.errors.find(one.says) != std::string::npos);
    CHECK(checked.errors.find("several words") == std::string::npos);
    if (one.says.empty()) continue;
    const Finished ran = run({FIBERD_BINARY, "run", "-c", file});
    CHECK(ran.code == 2);
    CHECK(ran.errors == checked.errors);
  }
  // Everybody may read it: said by both.
  REQUIRE(::chmod(token.c_str(), 0644) == 0);
  const std::string admin = "admin: {address: \"127.0.0.1:0\", token_file: " + token + "}\n";
  const Finished warned = run({FIBERD_BINARY, "check", directory.write("f.yaml", admin + kWeb)});
  CHECK(warned.code == 0);
  CHECK(warned.errors.find("can be read by everybody") != std::string::npos);
  Daemon daemon(admin + kWeb);
  CHECK(daemon.wait_for_log("can be read by everybody"));
  REQUIRE(::chmod(token.c_str(), 0600) == 0);
  CHECK(run({FIBERD_BINARY, "check", directory.write("f.yaml", admin + kWeb)}).errors.empty());
}

TEST_CASE("with a token only who knows it is answered, but for probes", "[integration][admin]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("token", kToken + "\n");
  Daemon daemon("admin: {address: \"0.0.0.0:0\", hosts: [ops], token_file: " + file + "}\n" + kWeb);
  const std::uint16_t port = daemon.port("admin");
  const std::string known = bearer(kToken);
  for (const char* const page : {"/", "/metrics", "/debug/fibers", "/debug/log", "/nowhere"}) {
    INFO(page);
    const Answer refused = ask(port, get_admin(page));
    CHECK(refused.status == 401);
    CHECK(refused.head.find("WWW-Authenticate: Bearer realm=\"fiberd admin\"\r\n") != std::string::npos);
    CHECK(refused.head.find("WWW-Authenticate: Basic realm=\"fiberd admin\"") != std::string::npos);
    CHECK(refused.body.find("fiberd_") == std::string::npos);
    CHECK(ask(port, get_admin(page, known)).status == (std::string_view(page) == "/nowhere" ? 404 : 200));
  }
  CHECK(ask(port, post("/reload")).status == 401);
  CHECK(ask(port, get_admin("/healthz")).status == 200);
  CHECK(ask(port, get_admin("/readyz")).status == 200);
  CHECK(ask(port, get_admin("/readyz/")).status == 401);
  CHECK(ask(port, get_admin("//metrics")).status == 401);
  // By any name, with the token as the password: printf 'me:TOKEN' | base64
  CHECK(ask(port, get_admin("/", "Authorization: Basic bWU6MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\r\n")).status ==
        200);
  for (const std::string& wrong :
       {bearer("x" + kToken.substr(1)), bearer(kToken + "0"), bearer(kToken.substr(1)), bearer(""),
        bearer(kToken + kToken), std::string("Authorization: Basic bWU6MDEy\r\n"),
        std::string("Authorization: Digest ") + kToken + "\r\n", "Authorization: " + kToken + "\r\n", known + known}) {
    INFO(wrong);
    CHECK(ask(port, get_admin("/metrics", wrong)).status == 401);
  }
  // A wrong name is told so before anybody is asked for a password.
  CHECK(ask(port, "GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n").status == 421);
  CHECK(ask(port, "GET / HTTP/1.1\r\nHost: ops\r\n" + known + "\r\n").status == 200);
  const std::string page = ask(port, get_admin("/metrics", known)).body;
  CHECK(page.find("fiberd_admin_refused_total{reason=\"wrong_token\"} 6\n") != std::string::npos);
  CHECK(page.find("fiberd_admin_refused_total{reason=\"no_token\"} 11\n") != std::string::npos);
  CHECK(daemon.wait_for_log("admin: a wrong token from 127.0.0.1:"));
  // It is told nowhere.
  CHECK(daemon.log().find(kToken) == std::string::npos);
  CHECK(ask(port, get_admin("/debug/pprof/cmdline", known)).body.find(kToken) == std::string::npos);
  CHECK(ask(port, get_admin("/debug/fibers?debug=2", known)).body.find(kToken) == std::string::npos);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a token is replaced with its file, at once or by a reload", "[integration][admin][reload]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("token", kToken);
  const std::string yaml = "admin: {address: \"127.0.0.1:0\", token_file: " + file + "}\n" + kWeb;
  Daemon daemon(yaml);
  const std::uint16_t port = daemon.port("admin");
  const std::string address = "127.0.0.1:" + std::to_string(port);
  CHECK(run({FIBERD_BINARY, "reload", "--address", address}).code == 2);
  CHECK(run({FIBERD_BINARY, "reload", "--address", address}).errors.find("--token-file") != std::string::npos);
  CHECK(run({FIBERD_BINARY, "reload", "--address", address, "--token-file", file}).code == 0);
  const std::string other = "fedcba9876543210fedcba9876543210";
  directory.write("token", other + "\n");
  // The file is looked at when a wrong token comes, at most once a second.
  CHECK(eventually([&] { return ask(port, get_admin("/", bearer(other))).status == 200; }));
  CHECK(ask(port, get_admin("/", bearer(kToken))).status == 401);
  CHECK(daemon.wait_for_log("the token is another one from now on"));
  // What is no token does not take the place of one.
  directory.write("token", "short");
  CHECK(eventually([&] {
    (void)ask(port, get_admin("/", bearer(kToken)));
    return daemon.log().find("16 bytes at least") != std::string::npos;
  }));
  CHECK(ask(port, get_admin("/", bearer(other))).status == 200);
  CHECK(ask(port, post("/reload", bearer(other))).status == 422);
  directory.write("token", kToken);
  CHECK(ask(port, post("/reload", bearer(other))).status == 200);
  CHECK(ask(port, get_admin("/", bearer(other))).status == 401);
  CHECK(ask(port, get_admin("/", bearer(kToken))).status == 200);
  // Without the key nobody needs one.
  daemon.write_config("admin: {address: \"127.0.0.1:0\"}\n" + kWeb);
  CHECK(ask(port, post("/reload", bearer(kToken))).status == 200);
  CHECK(ask(port, get_admin("/")).status == 200);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("`fiberd reload` finds address and token in the configuration, by a Unix socket, too",
          "[integration][admin][reload]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("token", kToken);
  const std::string path = directory.path() + "/admin.sock";
  Daemon daemon("admin: {address: \"unix:" + path + "\", mode: 0666, token_file: " + file + "}\n" + kWeb);
  struct stat status {};
  REQUIRE(::stat(path.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777U) == 0666);
  const std::string get = "GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n";
  CHECK(ask(path, get + "\r\n").starts_with("HTTP/1.1 401 "));
  CHECK(ask(path, get + bearer(kToken) + "\r\n").starts_with("HTTP/1.1 200 "));
  const Finished done = run({FIBERD_BINARY, "reload", "-c", daemon.config_file()});
  INFO(done.errors);
  CHECK(done.code == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a Host that is no address and in no list is refused however it is written", "[integration][admin]") {
  Daemon daemon("admin: {address: \"127.0.0.1:0\", hosts: [ops]}\n" + kWeb);
  const std::uint16_t port = daemon.port("admin");
  struct Case {
    std::string fields;
    unsigned status;
  };
  for (const Case& one : std::vector<Case>{{"Host: 127.0.0.1\r\n", 200},
                                           {"Host: 127.0.0.1:1\r\n", 200},
                                           {"Host: [::1]:80\r\n", 200},
                                           {"Host: OPS.:80\r\n", 200},
                                           {"Host: localhost.\r\n", 200},
                                           {"", 400},
                                           {"Host: 127.0.0.1\r\nHost: 127.0.0.1\r\n", 400},
                                           {"Host: 127.0.0.1\r\nHost: evil.example\r\n", 400},
                                           {"Host: localhost, evil.example\r\n", 400},
                                           {"Host: localhost@evil.example\r\n", 400},
                                           {"Host: evil.example:80@127.0.0.1\r\n", 400},
                                           {"Host: 127.0.0.1:x\r\n", 400},
                                           {"Host: evil.example.\r\n", 421},
                                           {"Host: evil.example:80\r\n", 421},
                                           {"Host: 127.0.0.1.evil.example\r\n", 421},
                                           {"Host: 127.1\r\n", 421},
                                           {"Host: 2130706433\r\n", 421},
                                           {"Host: 0x7f.0.0.1\r\n", 421},
                                           {"Host: 127.0.0.1.\r\n", 200},
                                           {"Host: [::1].evil.example\r\n", 400},
                                           {"Host: opsx\r\n", 421},
                                           {"Host: x.ops\r\n", 421},
                                           {"Host:\r\n", 400}}) {
    INFO(one.fields);
    CHECK(ask(port, "GET /debug/log HTTP/1.1\r\n" + one.fields + "\r\n").status == one.status);
  }
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what a POST of the admin listener does: who may, what it says, and that it is told",
          "[integration][admin]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("token", kToken);
  Daemon daemon("admin: {address: \"127.0.0.1:0\", token_file: " + file + "}\n" + kWeb);
  const std::uint16_t port = daemon.port("admin");
  const std::string known = bearer(kToken);
  const std::string basic = "Authorization: Basic bWU6MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\r\n";
  for (const char* const page :
       {"/debug/trim", "/debug/dump", "/debug/schedtrace?period=1h", "/debug/log?level=info", "/reload"}) {
    INFO(page);
    // A browser sends the password that it remembers with whatever page makes it post.
    for (const char* const field :
         {"Origin: http://127.0.0.1\r\n", "Origin: null\r\n", "Sec-Fetch-Site: same-origin\r\n"})
      CHECK(ask(port, post(page, basic + field)).status == 403);
    CHECK(ask(port, post(page, basic)).status == 200);
    // The dump before may be on its way.
    unsigned posts = 0;
    CHECK(eventually([&] {
      ++posts;
      return ask(port, post(page, known + "Origin: http://127.0.0.1\r\n")).status == 200;
    }));
    CHECK((posts == 1 || page == std::string_view("/debug/dump")));
    if (std::string_view(page).find("/debug/log") == 0) continue;
    const Answer wrong = ask(port, get_admin(page, known));
    CHECK(wrong.status == 405);
    CHECK(wrong.field("Allow").find("POST") != std::string::npos);
  }
  CHECK(daemon.wait_for_log("admin: POST /debug/schedtrace?period=1h by 127.0.0.1:"));
  CHECK(daemon.wait_for_log("admin: POST /debug/trim by 127.0.0.1:"));
  CHECK(daemon.wait_for_log("refused, it comes from a browser"));
  const std::string metrics = ask(port, get_admin("/metrics", known)).body;
  CHECK(metrics.find("fiberd_admin_posts_total{path=\"/debug/trim\"} 2\n") != std::string::npos);
  CHECK(metrics.find("fiberd_admin_refused_total{reason=\"browser\"} 15\n") != std::string::npos);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("levels of the log are a module's, for a while", "[integration][admin][logs]") {
  Daemon daemon("log: {level: warning, modules: {daemon: info}}\nadmin: {address: \"127.0.0.1:0\"}\n" + kWeb);
  const std::uint16_t port = daemon.port("admin");
  const auto levels = [&] { return daemon.admin("/debug/log"); };
  CHECK(levels().find("http    warning\n") != std::string::npos);
  CHECK(levels().find("daemon  info\n") != std::string::npos);
  const auto refused = [&] {
    (void)ask(daemon.port("web"), "GET / HTTP/9.9\r\nHost: me\r\n\r\n");
    return daemon.log().find("refused (unsupported_version): 127.0.0.1:") != std::string::npos;
  };
  CHECK_FALSE(refused());
  for (const char* const wrong :
       {"?module=nobody&level=debug", "?module=http", "?module=http&level=loud", "?level=debug&for=soon",
        "?level=debug&for=25h", "?level=debug&for=-1s", "?modul=http&level=debug"}) {
    INFO(wrong);
    CHECK(ask(port, post(std::string("/debug/log") + wrong)).status == 400);
  }
  CHECK(ask(port, post("/debug/log?module=nobody&level=debug")).body.find("there are all, base, metric") !=
        std::string::npos);
  CHECK(ask(port, post("/debug/log?level=loud%0a%22&module=http")).body.find("debug, info, warning, error") !=
        std::string::npos);
  CHECK(ask(port, post("/debug/log?module=http&level=debug&for=1h")).status == 200);
  CHECK(levels().find("http    debug  asked for, for another 3") != std::string::npos);
  CHECK(levels().find("net     warning\n") != std::string::npos);
  CHECK(eventually(refused));
  // Its end comes by itself,
  CHECK(ask(port, post("/debug/log?module=net&level=error&for=50ms")).status == 200);
  CHECK(daemon.wait_for_log("log levels are the configuration's again"));
  CHECK(levels().find("http    warning\n") != std::string::npos);
  CHECK(levels().find("net     warning\n") != std::string::npos);
  // also where it is over before it has begun,
  for (int i = 0; i < 20; ++i) CHECK(ask(port, post("/debug/log?level=debug&for=1ns")).status == 200);
  CHECK(eventually([&] { return levels().find("asked for") == std::string::npos; }));
  CHECK(levels().find("sync    warning\n") != std::string::npos);
  // is asked for,
  CHECK(ask(port, post("/debug/log?module=all&level=error&for=0")).status == 200);
  CHECK(levels().find("sync    error  asked for, until the next reload\n") != std::string::npos);
  CHECK(ask(port, post("/debug/log?level=configured")).status == 200);
  CHECK(levels().find("sync    warning\n") != std::string::npos);
  // or comes with a reload.
  CHECK(ask(port, post("/debug/log?level=debug")).status == 200);
  CHECK(levels().find("sync    debug  asked for, for another ") != std::string::npos);
  daemon.write_config(
      "log: {level: warning, modules: {daemon: info, sync: error}}\nadmin: {address: \"127.0.0.1:0\"}\n" + kWeb);
  CHECK(ask(port, post("/reload")).status == 200);
  CHECK(levels().find("sync    error\n") != std::string::npos);
  CHECK(levels().find("http    warning\n") != std::string::npos);
  daemon.write_config("log: {modules: {htp: debug, http: loud}}\n" + kWeb);
  const Answer wrong = ask(port, post("/reload"));
  CHECK(wrong.status == 422);
  CHECK(wrong.body.find("log.modules.htp: is no module; there are base, ") != std::string::npos);
  CHECK(wrong.body.find("log.modules.http: \"loud\" is no level; there are debug, ") != std::string::npos);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("trim says what it gave back, and dump writes to the log", "[integration][admin]") {
  const TemporaryDirectory site;
  site.write("a", std::string(64 * 1024, 'a'));
  Daemon daemon(
      "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n- {name: web, address: \"127.0.0.1:0\", http: {routes: "
      "[{path: /*, files: {root: " +
      site.path() + "}}]}}\n");
  CHECK(ask(daemon.port("web"), get("/a")).status == 200);
  CHECK(daemon.metric("fiberd_file_cache_files").value_or(0) == 1);
  const Answer trimmed = ask(daemon.port("admin"), post("/debug/trim"));
  INFO(trimmed.body);
  CHECK(trimmed.status == 200);
  CHECK(trimmed.body.find("files     1 let go, with 64 KiB in memory\n") != std::string::npos);
  for (const char* const line : {"\nstacks    ", "\nmalloc    ", "\nresident  "})
    CHECK(trimmed.body.find(line) != std::string::npos);
  CHECK(daemon.metric("fiberd_file_cache_files").value_or(1) == 0);
  CHECK(ask(daemon.port("web"), get("/a")).status == 200);
  CHECK(ask(daemon.port("admin"), post("/debug/dump")).status == 200);
  CHECK(daemon.wait_for_log("warning dump: all fibers"));
  CHECK(daemon.wait_for_log(" fibers\n"));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("no answer of the admin listener is kept, taken for another type, or runs anything", "[integration][admin]") {
  Daemon daemon("admin: {address: \"127.0.0.1:0\"}\nmetrics: {address: \"127.0.0.1:0\"}\n" + kWeb);
  HttpClient client(daemon.port("admin"));
  for (const char* const page : {"/", "/metrics", "/healthz", "/debug/log", "/debug/fibers?debug=2", "/nowhere"}) {
    INFO(page);
    const auto answer = client.ask(get_admin(page));
    REQUIRE(answer);
    CHECK(answer->field("Cache-Control") == "no-store");
    CHECK(answer->field("X-Content-Type-Options") == "nosniff");
    CHECK(answer->field("Content-Security-Policy").starts_with("default-src 'none'"));
  }
  CHECK(ask(daemon.port("metrics"), get("/metrics")).field("X-Content-Type-Options") == "nosniff");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("metrics.address has /metrics, /healthz and /readyz alone, for whoever asks",
          "[integration][admin][metrics]") {
  const TemporaryDirectory directory;
  const std::string file = directory.write("token", kToken);
  Daemon daemon("admin: {address: \"127.0.0.1:0\", token_file: " + file + "}\nmetrics: {address: \"127.0.0.1:0\"}\n" +
                kWeb);
  const std::uint16_t port = daemon.port("metrics");
  for (const char* const page : {"/metrics", "/healthz", "/readyz"}) {
    INFO(page);
    CHECK(ask(port, get(page)).status == 200);  // asked for by a name
    CHECK(ask(daemon.port("admin"), get_admin(page, bearer(kToken))).status == 200);
  }
  CHECK(ask(port, get("/metrics")).body.find("fiberd_listener_connections{listener=\"metrics\"} ") !=
        std::string::npos);
  for (const char* const page : {"/", "/debug/fibers", "/debug/pprof/", "/debug/log", "/aggregate", "/reload"}) {
    INFO(page);
    CHECK(ask(port, get(page)).status == 404);
    CHECK(ask(port, post(page)).status == 404);
  }
  CHECK(ask(port, post("/metrics")).status == 405);
  CHECK(ask(port, "GET /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello").status == 413);
  // One address gets no more than its share; those from before are gone when the server has seen it.
  REQUIRE(eventually([&] {
    return ask(port, get("/metrics")).body.find("fiberd_listener_connections{listener=\"metrics\"} 1\n") !=
           std::string::npos;
  }));
  std::vector<std::unique_ptr<HttpClient>> crowd;
  for (int i = 0; i < 16; ++i) {
    // The one that was asked just now may be there still.
    REQUIRE(eventually([&] {
      crowd.push_back(std::make_unique<HttpClient>(port));
      crowd.back()->send(get("/readyz"));
      if (crowd.back()->receive()) return true;
      crowd.pop_back();
      return false;
    }));
  }
  HttpClient more(port);
  more.send(get("/readyz"));
  CHECK_FALSE(more.receive());
  CHECK(daemon.stop() == 0);
}

TEST_CASE("metrics.address comes, moves and goes by reloads, and nobody is cut",
          "[integration][admin][metrics][reload]") {
  const std::uint16_t a = free_port();
  const std::uint16_t b = free_port();
  const auto at = [](std::uint16_t port) { return "\"127.0.0.1:" + std::to_string(port) + "\""; };
  const std::string head = "shutdown: {idle: 0s}\nadmin: {address: \"127.0.0.1:0\"}\n";
  Daemon daemon(head + kWeb);
  const auto reload = [&](const std::string& metrics) {
    daemon.write_config(head + metrics + kWeb);
    const Answer answer = ask(daemon.port("admin"), post("/reload"));
    UNSCOPED_INFO(answer.body);
    return answer.status;
  };
  const auto answers = [](std::uint16_t port) {
    try {
      return ask(port, get("/readyz")).status == 200;
    } catch (const std::system_error&) {  // nobody listens
      return false;
    }
  };
  CHECK_FALSE(answers(a));
  REQUIRE(reload("metrics: {address: " + at(a) + "}\n") == 200);
  CHECK(answers(a));
  HttpClient kept(a);
  CHECK(kept.ask(get("/readyz"))->status == 200);
  REQUIRE(reload("metrics: {address: [" + at(a) + ", " + at(b) + "]}\n") == 200);
  CHECK(kept.ask(get("/readyz"))->status == 200);
  CHECK(answers(b));
  REQUIRE(reload("metrics: {address: " + at(b) + "}\n") == 200);
  CHECK(kept.ask(get("/readyz"))->status == 200);  // it came by an address that is gone, and is served on
  CHECK(eventually([&] { return !answers(a); }));
  CHECK(answers(b));
  // A page of metrics is counted for the listener all the while.
  CHECK(daemon.metric("fiberd_admin_requests_total{listener=\"metrics\",route=\"/readyz\",method=\"GET\",code=\"200\"}")
            .value_or(0) >= 5);
  // What clashes is refused, and changes nothing.
  CHECK(reload("metrics: {address: [" + at(b) + ", " + at(b) + "]}\n") == 422);
  CHECK(reload("metrics: {address: \"unix:/x\"}\n") == 422);
  CHECK(answers(b));
  REQUIRE(reload("") == 200);
  CHECK(eventually([&] { return !answers(b); }));
  CHECK(daemon.admin_status("/metrics") == 200);
  CHECK(daemon.metric("fiberd_bugs_total") == 0.0);
  CHECK(daemon.stop() == 0);
}
