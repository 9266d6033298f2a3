// The admin listener as a browser, a scraper and a probe meet it.
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd::test;

namespace {

std::string with_admin(const std::string& admin) {
  return "admin: {" + admin +
         "}\nlisteners:\n  - {name: stats, address: \"127.0.0.1:0\", aggregate: {}}\n"
         "  - {name: web, address: \"127.0.0.1:0\", http: {routes: [{path: /, respond: {body: hi}}]}}\n"
         "  - {name: echo, address: \"127.0.0.1:0\", http: {routes: [{path: /, echo: {}}]}}\n";
}

std::string asked_by(const std::string& host, const std::string& path = "/metrics") {
  return "GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n";
}

}  // namespace

TEST_CASE("the admin listener answers to addresses, localhost and admin.hosts, and 421 to other names",
          "[integration][admin]") {
  Daemon daemon(with_admin("address: \"127.0.0.1:0\", hosts: [fiberd, \"*.svc.cluster.local\"]"));
  const std::string port = ":" + std::to_string(daemon.port("admin"));
  HttpClient client(daemon.port("admin"));
  for (const std::string& host :
       {"127.0.0.1" + port, std::string("127.0.0.1"), "localhost" + port, std::string("LocalHost."), "[::1]" + port,
        std::string("10.1.2.3"), "fiberd" + port, std::string("web.svc.cluster.local")}) {
    INFO(host);
    const auto answer = client.ask(asked_by(host));
    REQUIRE(answer);
    CHECK(answer->status == 200);
  }
  const std::string refused = "fiberd_http_refused_total{listener=\"admin\",reason=\"misdirected\"}";
  CHECK_FALSE(daemon.metric(refused));
  const std::vector<std::string> strangers{"evil.example" + port,    "a.example",         "fiberd.evil.example",
                                           "127.0.0.1.evil.example", "svc.cluster.local", "localhost.evil.example",
                                           "localhost.localdomain"};
  for (const std::string& host : strangers) {
    INFO(host);
    // Whatever it asks for: that a page is not there, too, is for those who may know.
    for (const char* path : {"/metrics", "/aggregate/json", "/", "/nowhere"}) {
      const auto answer = client.ask(asked_by(host, path));
      REQUIRE(answer);
      CHECK(answer->status == 421);
      CHECK(answer->body.find("admin.hosts") != std::string::npos);
      CHECK(answer->body.find("fiberd_") == std::string::npos);
    }
  }
  CHECK(daemon.metric(refused) == 4.0 * static_cast<double>(strangers.size()));
  // A target in absolute form names its host itself, and is believed before the field.
  const auto absolute = client.ask("GET http://evil.example/metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
  REQUIRE(absolute);
  CHECK(absolute->status == 421);
  // Balancers that check by HTTP/1.0 send no Host; browsers always do.
  HttpClient old(daemon.port("admin"));
  const auto without = old.ask("GET /healthz HTTP/1.0\r\n\r\n");
  REQUIRE(without);
  CHECK(without->status == 200);
  // What clients are served is not bound by it.
  HttpClient web(daemon.port("web"));
  CHECK(web.ask(asked_by("evil.example", "/"))->status == 200);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("the admin's Unix socket answers whatever the Host", "[integration][admin]") {
  const TemporaryDirectory place;
  const std::string path = place.path() + "/admin";
  Daemon daemon(with_admin("address: \"unix:" + path + "\""));
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un to{};
  to.sun_family = AF_UNIX;
  path.copy(to.sun_path, sizeof to.sun_path - 1);
  REQUIRE(::connect(fd, reinterpret_cast<const sockaddr*>(&to), sizeof to) == 0);
  const std::string request = "GET /readyz HTTP/1.1\r\nHost: anything.example\r\nConnection: close\r\n\r\n";
  REQUIRE(::send(fd, request.data(), request.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(request.size()));
  std::string answer;
  char buffer[1024];
  for (ssize_t n = 0; (n = ::recv(fd, buffer, sizeof buffer, 0)) > 0;)
    answer.append(buffer, static_cast<std::size_t>(n));
  ::close(fd);
  CHECK(answer.starts_with("HTTP/1.1 200 "));
  CHECK(daemon.stop() == 0);
}

// A web page may send requests to any address, without being shown the answers. That is harmless as long as no page of
// ours changes anything: one that shall must not be added without a token, or a look at Origin and Sec-Fetch-Site.
TEST_CASE("no page of the admin listener changes anything, and none is shared with other origins",
          "[integration][admin]") {
  Daemon daemon(with_admin("address: \"127.0.0.1:0\""));
  std::istringstream pages(daemon.admin("/"));
  std::string page;
  REQUIRE(std::getline(pages, page));  // the title
  unsigned count = 0;
  HttpClient client(daemon.port("admin"));
  static constexpr std::string_view kPost = "POST ";
  while (std::getline(pages, page)) {
    INFO(page);
    ++count;
    const bool changes = page.starts_with(kPost);  // what does change something refuses what comes from a page
    if (changes) page.erase(0, kPost.size());
    for (const char* method : {"POST", "PUT", "PATCH", "DELETE"}) {
      INFO(method);
      const auto answer = client.ask(std::string(method) + " " + page +
                                     " HTTP/1.1\r\nHost: 127.0.0.1\r\nOrigin: http://evil.example\r\n"
                                     "Content-Length: 0\r\n\r\n");
      REQUIRE(answer);
      // A page may be both: read by GET, and changed by POST.
      const bool posted = changes || pages.str().find("\nPOST " + page + "\n") != std::string::npos;
      CHECK(answer->status == (posted && method == std::string_view("POST") ? 403 : 405));
    }
    if (changes) continue;
    if (page == "/debug/pprof/profile") page += "?seconds=1";
    const auto read = client.ask(get_admin(page, "Origin: http://evil.example\r\n"));
    REQUIRE(read);
    CHECK(read->status == 200);
    CHECK(read->field("Access-Control-Allow-Origin").empty());
  }
  CHECK(count >= 7);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what every fiber does is shown: grouped, one by one, chosen, and for pprof",
          "[integration][admin][fibers]") {
  Daemon daemon(with_admin("address: \"127.0.0.1:0\""));
  HttpClient busy(daemon.port("echo"));
  busy.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  // It waits for the rest of its body.
  REQUIRE(eventually([&] {
    return daemon.admin("/debug/fibers?debug=2&state=io_read&name=http").find("spawned at core/http/h1/") !=
           std::string::npos;
  }));
  const std::string one = daemon.admin("/debug/pprof/goroutine?debug=2&state=io_read&name=http");
  INFO(one);
  CHECK(one.find("\"http\" [io_read, ") != std::string::npos);
  CHECK(one.find("peer 127.0.0.1:") != std::string::npos);
  CHECK(one.find("Connection::serve_request") != std::string::npos);
  CHECK(daemon.admin("/debug/fibers?debug=2&min_age=1h").find("0 of ") == 0);
  CHECK(daemon.admin("/debug/fibers?debug=1").starts_with("goroutine profile: total "));
  CHECK(daemon.admin_status("/debug/fibers?state=nonsense") == 400);
  CHECK(daemon.admin_status("/debug/fibers?min_age=soon") == 400);
  CHECK(daemon.admin_status("/debug/fibers?debug=3") == 400);
  CHECK(daemon.admin_status("/debug/fibers?debug=2&staet=mutex") == 400);
  CHECK(daemon.admin_status("/debug/pprof/goroutine?gc=1") == 200);
  const auto nowhere = HttpClient(daemon.port("admin")).ask(get_admin("/debug/fiber"));
  REQUIRE(nowhere);
  CHECK(nowhere->body == "404 Not Found: / lists the pages\n");
  // On a kept connection, too, it goes by the admin's name. (The second request may come before the first one's fiber
  // has left, which goes on with it then.)
  CHECK(eventually([&] {
    HttpClient kept(daemon.port("admin"));
    if (!kept.ask(get_admin("/healthz"))) return false;
    kept.send(get_admin("/debug/pprof/threadcreate?seconds=300"));
    return eventually(
        [&] { return daemon.admin("/debug/fibers?debug=2&name=kept").find("\"admin kept\" [") != std::string::npos; },
        std::chrono::milliseconds(500));
  }));
  const TemporaryDirectory directory;
  const std::string profile = directory.write("p.pb.gz", daemon.admin("/debug/pprof/goroutine"));
  const Finished top = run({"go", "tool", "pprof", "-top", "-sample_index=goroutine", profile});
  INFO(top.output << top.errors);
  CHECK(top.code == 0);
  CHECK(top.output.find("Type: goroutine") != std::string::npos);
  CHECK(top.output.find("fiberd::runtime::") != std::string::npos);
  const std::string text = directory.write("p.txt", daemon.admin("/debug/pprof/goroutine?debug=1"));
  const Finished old = run({"go", "tool", "pprof", "-top", text});
  INFO(old.output << old.errors);
  CHECK(old.code == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("who ends his side behind a request is answered, and never that something failed", "[integration][admin]") {
  Daemon daemon(with_admin("address: \"127.0.0.1:0\""));
  struct Asked {
    std::string request;
    std::vector<unsigned> answers;
  };
  const std::string none = " HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n";
  std::vector<Asked> all;
  for (const char* page :
       {"/debug/fibers", "/debug/fibers?debug=1", "/debug/fibers?debug=2", "/debug/pprof/cmdline", "/debug/pprof/heap",
        "/debug/pprof/threadcreate", "/debug/pprof/symbol?0x1", "/debug/pprof/heap?debug=1", "/debug/flame",
        "/debug/leaks", "/debug/pprof/goroutineleak", "/debug/status", "/metrics", "/healthz"})
    all.push_back({"GET " + std::string(page) + none, {200}});
  // What is sampled ends, for others may wait for their turn; a reload goes on, and is done by then or is not.
  all.push_back({"GET /debug/pprof/profile?seconds=60" + none, {400}});
  all.push_back({"GET /debug/pprof/heap?seconds=60" + none, {400}});
  all.push_back({"POST /reload" + none, {200, 202}});
  all.push_back({"POST /debug/trim" + none, {200}});
  for (const Asked& asked : all) {
    INFO(asked.request);
    HttpClient client(daemon.port("admin"));
    REQUIRE(client.send(asked.request));
    client.finish_sending();
    const auto answer = client.receive();
    REQUIRE(answer);
    CHECK(std::find(asked.answers.begin(), asked.answers.end(), answer->status) != asked.answers.end());
  }
  CHECK(daemon.stop() == 0);
}

TEST_CASE("fibers are shown on the smallest stacks that there may be", "[integration][admin][fibers]") {
  // Frames of sanitized code are some times larger.
  Daemon daemon(std::string("runtime: {stack_size: ") + (kSanitized ? "128KiB" : "16KiB") + "}\n" +
                with_admin("address: \"127.0.0.1:0\""));
  for (const char* const page : {"?debug=1", "?debug=2", ""}) {
    INFO(page);
    CHECK(daemon.admin_status("/debug/fibers" + std::string(page)) == 200);
  }
  CHECK(daemon.stop() == 0);
}

TEST_CASE("SIGQUIT writes every fiber to the log, and the daemon goes on", "[integration][admin][fibers]") {
  Daemon daemon(with_admin("address: \"127.0.0.1:0\""));
  HttpClient busy(daemon.port("echo"));
  busy.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  REQUIRE(eventually([&] {
    return daemon.admin("/debug/fibers?debug=2&state=io_read&name=http").find("spawned") != std::string::npos;
  }));
  daemon.process().signal(SIGQUIT);
  CHECK(daemon.wait_for_log("warning SIGQUIT: all fibers"));  // also where log.level leaves out what is less
  CHECK(daemon.wait_for_log("\"http\" [io_read, "));
  CHECK(daemon.wait_for_log(" fibers\n"));
  busy.send("world");
  const auto answer = busy.receive();
  CHECK((answer && answer->body == "helloworld"));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("the scheduler is shown, and written to the log as long as it is asked for", "[integration][admin][fibers]") {
  Daemon daemon(with_admin("address: \"127.0.0.1:0\""));
  CHECK(daemon.admin("/debug/sched").starts_with("SCHED "));
  CHECK(daemon.admin("/debug/sched?sites=1").starts_with("SITES "));
  CHECK(daemon.admin("/debug/sched?sites=1000").find(" core/") != std::string::npos);
  CHECK(daemon.admin("/debug/sched?detail=1").find("\n  P0: status=") != std::string::npos);
  HttpClient client(daemon.port("admin"));
  const auto post = [&](const std::string& query, const std::string& fields = "") {
    const auto answer = client.ask("POST /debug/schedtrace" + query + " HTTP/1.1\r\nHost: 127.0.0.1\r\n" + fields +
                                   "Content-Length: 0\r\n\r\n");
    return answer ? answer->status : 0U;
  };
  CHECK(post("?period=10ms", "Origin: http://evil.example\r\n") == 403);
  CHECK(post("") == 400);
  CHECK(post("?period=1ms") == 400);
  CHECK(post("?period=1us") == 400);
  CHECK(post("?period=10ms") == 200);
  CHECK(daemon.wait_for_log("SCHED "));
  CHECK(post("?period=0") == 200);
  CHECK(daemon.stop() == 0);
}
