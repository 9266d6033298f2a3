// The daemon as a process: its configuration is replaced while it serves.
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>
#include <memory>
#include <thread>
#include <vector>

#include "tests/integration/configurations.hpp"
#include "tests/integration/conversations.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/sanitized.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

std::size_t lines_of(const std::string& page) {
  return static_cast<std::size_t>(std::count(page.begin(), page.end(), '\n'));
}

}  // namespace

TEST_CASE("a reload: kept connections are answered by the new configuration, and counters go on",
          "[integration][daemon][reload]") {
  Daemon daemon(with_listeners(http_listener("web", says("/", "one"))));
  HttpClient kept(daemon.port("web"));
  CHECK(ask(kept, "/") == "200 one");
  CHECK(daemon.metric("fiberd_config_last_reload_successful") == 1);
  const auto began = daemon.metric("fiberd_config_last_reload_success_timestamp_seconds");
  CHECK(began > 1e9);
  const Answer answer =
      reload(daemon, with_listeners(http_listener("web", says("/", "two") + ", " + says("/new", "new"))));
  CHECK(answer.status == 200);
  CHECK(answer.body.find("listener web changed\n") != std::string::npos);
  CHECK(ask(kept, "/") == "200 two");
  CHECK(ask(kept, "/new") == "200 new");
  CHECK(ask(daemon.port("web"), "/") == "200 two");
  CHECK(daemon.metric("fiberd_http_requests_total{listener=\"web\",route=\"/\",method=\"GET\",code=\"200\"}") == 3);
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"success\"}") == 1);
  CHECK(daemon.metric("fiberd_config_last_reload_success_timestamp_seconds") >= began);
  CHECK(reload(daemon).body.find("no key has changed") != std::string::npos);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a reload that is refused: all that is wrong is told with its place, and the old configuration goes on",
          "[integration][daemon][reload]") {
  Daemon daemon(with_listeners(http_listener("web", says("/", "one"))));
  const Answer answer =
      reload(daemon,
             with_listeners(http_listener("web", "{path: /, respnd: {}}, {path: /f, files: {root: /nowhere/at/all}}")));
  CHECK(answer.status == 422);
  INFO(answer.body);
  CHECK(answer.body.find(daemon.config_file() + ":3:") != std::string::npos);
  CHECK(answer.body.find("respond") != std::string::npos);
  CHECK(answer.body.find("/nowhere/at/all") != std::string::npos);
  CHECK(daemon.wait_for_log("reload: " + daemon.config_file() + ":3:"));
  CHECK(daemon.metric("fiberd_config_last_reload_successful") == 0);
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"failure\"}") == 1);
  CHECK(ask(daemon.port("web"), "/") == "200 one");
  ::unlink(daemon.config_file().c_str());
  CHECK(reload(daemon).status == 422);
  CHECK(reload(daemon, with_listeners(http_listener("web", says("/", "two")))).status == 200);
  CHECK(daemon.metric("fiberd_config_last_reload_successful") == 1);
  CHECK(ask(daemon.port("web"), "/") == "200 two");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("requests in flight end by the configuration that they began with", "[integration][daemon][reload]") {
  Daemon daemon(with_listeners(http_listener("web", says("/", "one") + ", {path: /echo, echo: {}}")));
  HttpClient upload(daemon.port("web"));
  upload.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  // It has begun when the handler has sent what came.
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"web\"}") == 1; }));
  HttpClient batch(daemon.port("web"));
  batch.send("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n");
  CHECK(batch.receive().value().body == "one");
  CHECK(reload(daemon, with_listeners(http_listener("web", says("/", "two")))).status == 200);
  CHECK(batch.receive().value().body == "one");
  CHECK(ask(batch, "/") == "200 two");
  CHECK(ask(daemon.port("web"), "/echo").starts_with("404"));
  upload.send("world");
  const auto answer = upload.receive();
  REQUIRE(answer);
  CHECK(answer->status == 200);
  CHECK(answer->body == "helloworld");
  CHECK(ask(upload, "/") == "200 two");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("listeners that are new begin, those that are gone drain, those that moved keep their connections",
          "[integration][daemon][reload]") {
  const std::uint16_t first = free_port();
  const std::uint16_t second = free_port();
  const std::string web = http_listener("web", says("/", "web"));
  Daemon daemon(with_listeners(web + http_listener("gone", "{path: /echo, echo: {}}") +
                               http_listener("moved", says("/", "here"), {}, at(first))));
  HttpClient in_flight(daemon.port("gone"));
  in_flight.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"gone\"}") == 1; }));
  HttpClient moving(first);
  CHECK(ask(moving, "/") == "200 here");
  const Answer answer = reload(daemon, with_listeners(web + http_listener("moved", says("/", "there"), {}, at(second)) +
                                                      http_listener("fresh", says("/", "fresh"))));
  INFO(answer.body);
  CHECK(answer.status == 200);
  CHECK(answer.body.find("listener fresh added; listener gone removed") != std::string::npos);
  CHECK(ask(daemon.port("fresh"), "/") == "200 fresh");
  CHECK(eventually([&] { return !is_listened_on(daemon.port("gone")); }));
  CHECK(eventually([&] { return !is_listened_on(first); }));
  CHECK(ask(second, "/") == "200 there");
  CHECK(ask(moving, "/") == "200 there");
  in_flight.send("world");
  CHECK(in_flight.receive().value().body == "helloworld");
  CHECK(ask(daemon.port("web"), "/") == "200 web");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what is gone is cut at shutdown.timeout, and the rest goes on", "[integration][daemon][reload]") {
  const std::string web = http_listener("web", says("/", "web"));
  Daemon daemon(with_listeners(web + http_listener("gone", "{path: /echo, echo: {}}"), "shutdown: {timeout: 100ms}\n"));
  HttpClient never(daemon.port("gone"));
  never.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections_active{listener=\"gone\"}") == 1; }));
  CHECK(reload(daemon, with_listeners(web, "shutdown: {timeout: 100ms}\n")).status == 200);
  CHECK(daemon.wait_for_log("listener gone is gone: 1 connections were cut"));
  CHECK(ask(daemon.port("web"), "/") == "200 web");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what cannot change while the daemon runs is refused by name, and nothing of it is done",
          "[integration][daemon][reload]") {
  const std::uint16_t a = free_port();
  const std::uint16_t b = free_port();
  const std::uint16_t fresh = free_port();
  const std::string both =
      http_listener("a", says("/", "a"), {}, at(a)) + http_listener("b", says("/", "b"), {}, at(b));
  const std::string more = http_listener("fresh", says("/", "fresh"), {}, at(fresh));
  Daemon daemon(with_listeners(both));
  const int taken = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  fiberd::net::Endpoint any = fiberd::net::Endpoint::v4(0x7f000001, 0);
  REQUIRE(::bind(taken, any.data(), any.size()) == 0);
  REQUIRE(::listen(taken, 1) == 0);
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  (void)::getsockname(taken, reinterpret_cast<sockaddr*>(&address), &size);
  const std::uint16_t theirs = fiberd::net::Endpoint::from(reinterpret_cast<sockaddr*>(&address), size).port();

  const auto refused = [&](const std::string& yaml, const std::string& why) {
    const Answer answer = reload(daemon, yaml);
    INFO(answer.body);
    CHECK(answer.status == 422);
    CHECK(answer.body.find(why) != std::string::npos);
    CHECK(ask(a, "/") == "200 a");
    CHECK(ask(b, "/") == "200 b");
    CHECK_FALSE(is_listened_on(fresh));
  };
  refused(with_listeners(more + both, "runtime: {stack_size: 128KiB}\n"), "runtime.stack_size: ");
  // Two that swap, one that becomes something else and one that is renamed: and one address that another has.
  refused(with_listeners(more + http_listener("b", says("/", "x"), {}, at(a)) +
                         http_listener("a", says("/", "x"), {}, at(b)) +
                         http_listener("c", says("/", "x"), {}, at(theirs))),
          "cannot bind 127.0.0.1:" + std::to_string(theirs));
  refused(with_listeners(more + "  - {name: a, address: " + at(a) + ", tcp: {echo: {}}}\n" +
                         http_listener("renamed", says("/", "x"), {}, at(b)) +
                         http_listener("c", says("/", "x"), {}, at(theirs))),
          "cannot bind 127.0.0.1:" + std::to_string(theirs));
  refused(with_listeners(more + http_listener("a", says("/", "x"), {}, at(a)) +
                         http_listener("b", says("/", "x"), {}, at(theirs))),
          "cannot bind 127.0.0.1:" + std::to_string(theirs));
  ::close(taken);
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"failure\"}") == 4);
  // And then one that is right.
  CHECK(reload(daemon, with_listeners(more + both)).status == 200);
  CHECK(is_listened_on(fresh));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a bucket is as empty as before if its settings are the same, and full if they are not",
          "[integration][daemon][reload]") {
  const auto limited = [](const std::string& rate, const std::string& body) {
    return with_listeners(
        http_listener("web", "{path: /, rate_limit: {rate: " + rate + "}, respond: {body: " + body + "}}"));
  };
  Daemon daemon(limited("2/h, burst: 2", "one"));
  const std::uint16_t port = daemon.port("web");
  CHECK(ask(port, "/") == "200 one");
  CHECK(ask(port, "/") == "200 one");
  CHECK(ask(port, "/").starts_with("429"));
  CHECK(reload(daemon, limited("2/h, burst: 2", "two")).status == 200);
  CHECK(ask(port, "/").starts_with("429"));
  const std::string refused =
      "fiberd_admission_refused_total{listener=\"web\",route=\"/\",limit=\"rate_limit\",reason=\"rate_limited\","
      "dry_run=\"false\"}";
  CHECK(daemon.metric(refused) == 2);
  CHECK(reload(daemon, limited("1/h, burst: 1", "three")).status == 200);
  CHECK(ask(port, "/") == "200 three");
  CHECK(ask(port, "/").starts_with("429"));
  CHECK(daemon.metric(refused) == 3);  // the limit is another one, the counter is not
  CHECK(reload(daemon, with_listeners(http_listener("web", says("/", "four")))).status == 200);
  CHECK(ask(port, "/") == "200 four");
  CHECK(daemon.metric(refused) == 3);  // for its grace
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what is in flight under the limit of before is shown beside what is under its successor",
          "[integration][daemon][reload]") {
  const auto limited = [](const std::string& limit) {
    return with_listeners(http_listener("web", "{path: /echo, " + limit + "echo: {}}, {path: /, respond: {body: x}}"));
  };
  const auto shown = [](const Daemon& daemon, const char* what) {
    return daemon.metric("fiberd_admission_" + std::string(what) +
                         "{listener=\"web\",route=\"/echo\",limit=\"concurrency\"}");
  };
  const std::string begun = "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\n12";
  Daemon daemon(limited("concurrency: {limit: 1, queue: 2, max_wait: 20s}, "));
  HttpClient first(daemon.port("web"));
  HttpClient waits(daemon.port("web"));
  first.send(begun);
  REQUIRE(eventually([&] { return shown(daemon, "in_flight") == 1; }));
  waits.send(begun);
  REQUIRE(eventually([&] { return shown(daemon, "queued") == 1; }));
  CHECK(reload(daemon, limited("concurrency: {limit: 3, queue: 2, max_wait: 20s}, ")).status == 200);
  CHECK(shown(daemon, "in_flight") == 1);
  CHECK(shown(daemon, "queued") == 1);
  CHECK(shown(daemon, "limit") == 4);
  HttpClient second(daemon.port("web"));
  second.send(begun);
  REQUIRE(eventually([&] { return shown(daemon, "in_flight") == 2; }));
  for (HttpClient* const client : {&first, &waits, &second}) {
    client->send("34");
    const auto answer = client->receive();
    REQUIRE(answer);
    CHECK(answer->body == "1234");
  }
  CHECK(eventually([&] { return shown(daemon, "limit") == 3; }));
  CHECK(shown(daemon, "in_flight") == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("worker pools pass, or end, with the configuration", "[integration][daemon][reload]") {
  const auto pooled = [](const std::string& workers, const std::string& body) {
    return with_listeners(
        http_listener("web", "{path: /, worker_pool: {workers: " + workers + "}, respond: {body: " + body + "}}"));
  };
  Daemon daemon(pooled("2", "one"));
  HttpClient kept(daemon.port("web"));
  CHECK(ask(kept, "/") == "200 one");
  CHECK(reload(daemon, pooled("2", "two")).status == 200);
  CHECK(ask(kept, "/") == "200 two");
  CHECK(reload(daemon, pooled("3", "three")).status == 200);
  CHECK(ask(kept, "/") == "200 three");
  CHECK(reload(daemon, with_listeners(http_listener("web", says("/", "four")))).status == 200);
  CHECK(ask(kept, "/") == "200 four");
  CHECK(daemon.metric("fiberd_bugs_total").value_or(0) == 0);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("limits of connections change with the configuration", "[integration][daemon][reload]") {
  const auto limited = [](int most) {
    return with_listeners("  - {name: t, address: \"127.0.0.1:0\", tcp: {echo: {}, limits: {connections: " +
                          std::to_string(most) + "}}}\n");
  };
  Daemon daemon(limited(1));
  const std::uint16_t port = daemon.port("t");
  HttpClient first(port);
  first.send("x");
  CHECK(first.more());
  HttpClient second(port);
  CHECK_FALSE(second.more());
  CHECK(reload(daemon, limited(2)).status == 200);
  HttpClient third(port);
  third.send("y");
  CHECK(third.more());
  first.send("z");
  CHECK(first.more());  // a session outlives the configuration that it began with
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what has been aggregated stays as long as its listener does", "[integration][daemon][reload]") {
  const auto aggregating = [](const std::string& rest, const std::string& other) {
    return with_listeners("  - {name: stats, address: \"127.0.0.1:0\", aggregate: {flush_interval: 100ms" + rest +
                          "}}\n" + other);
  };
  Daemon daemon(aggregating("", ""));
  HttpClient client(daemon.port("stats"));
  client.send("clicks:5|g\n");
  const auto shows = [&] { return daemon.admin("/aggregate/stats/metrics").find("clicks 5") != std::string::npos; };
  CHECK(eventually(shows));
  CHECK(reload(daemon, aggregating(", limits: {connections: 7}", http_listener("web", says("/", "x")))).status == 200);
  CHECK(shows());
  client.send("clicks:+1|g\n");
  CHECK(eventually([&] { return daemon.admin("/aggregate/stats/metrics").find("clicks 6") != std::string::npos; }));
  const Answer answer = reload(daemon, aggregating(", series: 5", ""));
  CHECK(answer.status == 422);
  CHECK(answer.body.find("listeners[0].aggregate.series: ") != std::string::npos);
  CHECK(reload(daemon, with_listeners(http_listener("web", says("/", "x")))).status == 200);
  CHECK(eventually([&] { return daemon.admin_status("/aggregate/stats/metrics") == 404; }));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("SIGHUP and `fiberd reload` reload", "[integration][daemon][reload]") {
  Daemon daemon(with_listeners(http_listener("web", says("/", "one"))));
  daemon.write_config(with_listeners(http_listener("web", says("/", "two"))));
  daemon.process().signal(SIGHUP);
  CHECK(daemon.wait_for_log("ms: listener web changed"));
  CHECK(ask(daemon.port("web"), "/") == "200 two");
  const std::string admin = "127.0.0.1:" + std::to_string(daemon.port("admin"));
  daemon.write_config(with_listeners(http_listener("web", says("/", "three"))));
  const Finished done = run({FIBERD_BINARY, "reload", "--address", admin});
  CHECK(done.code == 0);
  CHECK(done.output.find("listener web changed") != std::string::npos);
  CHECK(ask(daemon.port("web"), "/") == "200 three");
  daemon.write_config("listners: []\n");
  const Finished refused = run({FIBERD_BINARY, "reload", "--address", admin});
  CHECK(refused.code == 2);
  CHECK(refused.errors.find(daemon.config_file() + ":1:1: ") != std::string::npos);
  const TemporaryDirectory directory;
  const std::string file = directory.write(
      "f.yaml", "admin: {address: \"" + admin + "\"}\nlisteners:\n" + http_listener("web", says("/", "x")));
  daemon.write_config(with_listeners(http_listener("web", says("/", "four"))));
  // It finds the daemon, and is not what the daemon runs with.
  const Finished other = run({FIBERD_BINARY, "reload", "-c", file});
  CHECK(other.code == 2);
  CHECK(other.errors.find("was started with " + daemon.config_file()) != std::string::npos);
  CHECK(ask(daemon.port("web"), "/") == "200 three");
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"failure\"}") == 1.0);
  // The same file by another name is.
  const std::string link = directory.path() + "/link.yaml";
  REQUIRE(::symlink(daemon.config_file().c_str(), link.c_str()) == 0);
  const Finished same = run({FIBERD_BINARY, "reload", "-c", link, "--address", admin});
  CHECK(same.code == 0);
  CHECK(same.output.find("reloaded " + daemon.config_file() + " in ") != std::string::npos);
  CHECK(ask(daemon.port("web"), "/") == "200 four");
  const std::string home = daemon.config_file().substr(0, daemon.config_file().rfind('/'));
  // "link/.." is where the link leads to, and not what the name looks like.
  const std::string decoy = directory.path() + daemon.config_file().substr(daemon.config_file().rfind('/'));
  REQUIRE(::symlink(decoy.c_str(), decoy.c_str()) == 0);  // leads nowhere
  REQUIRE(::symlink((home + "/sub").c_str(), (directory.path() + "/sub").c_str()) == 0);
  REQUIRE(::mkdir((home + "/sub").c_str(), 0700) == 0);
  const std::string through = directory.path() + "/sub/.." + decoy.substr(decoy.rfind('/'));
  CHECK(run({FIBERD_BINARY, "reload", "--address", admin, through}).code == 0);
  CHECK(run({FIBERD_BINARY, "reload", "--address", admin, decoy}).code == 2);
  const Finished set = run({FIBERD_BINARY, "reload", "--address", admin, "--set", "log.level=debug"});
  CHECK(set.code == 2);
  CHECK(set.errors.find("--set reaches no daemon") != std::string::npos);
  CHECK(daemon.admin("/").find("POST /reload\n") != std::string::npos);
  CHECK(daemon.stop() == 0);
  CHECK(run({FIBERD_BINARY, "reload", "--address", admin}).code == 1);
  CHECK(run({FIBERD_BINARY, "reload", "--address", "here"}).code == 2);
}

TEST_CASE("a page of the web cannot have the configuration reloaded", "[integration][daemon][reload]") {
  const Daemon daemon(with_listeners(http_listener("web", says("/", "one"))));
  for (const char* const field : {"Origin: http://evil.example", "Sec-Fetch-Site: cross-site"}) {
    HttpClient client(daemon.port("admin"));
    client.send(std::string("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n") + field + "\r\n\r\n");
    CHECK(client.receive().value().status == 403);
  }
  CHECK(daemon.admin_status("/reload") == 405);
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"success\"}") == 0);
}

TEST_CASE("reloads that are asked for during one are done once, and the last configuration serves",
          "[integration][daemon][reload]") {
  constexpr unsigned kClients = 8;
  Daemon daemon(with_listeners(http_listener("web", says("/", "0"))));
  std::vector<std::thread> clients;
  std::atomic<unsigned> failed{0};
  daemon.write_config(with_listeners(http_listener("web", says("/", "last"))));
  for (unsigned i = 0; i < kClients; ++i)
    clients.emplace_back([&] {
      if (reload(daemon).status != 200) failed.fetch_add(1);
    });
  for (unsigned i = 0; i < 20; ++i) daemon.process().signal(SIGHUP);
  for (auto& client : clients) client.join();
  CHECK(failed == 0);
  CHECK(ask(daemon.port("web"), "/") == "200 last");
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"success\"}") >= 1);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a daemon that stops refuses to reload", "[integration][daemon][reload]") {
  Daemon daemon(with_listeners(http_listener("web", says("/", "one")), "shutdown: {delay: 5s}\n"));
  HttpClient admin(daemon.port("admin"));
  daemon.write_config(with_listeners(http_listener("web", says("/", "two"))));
  daemon.process().signal(SIGTERM);
  CHECK(daemon.wait_for_log("stopping"));
  admin.send("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
  const auto answer = admin.receive();
  REQUIRE(answer);
  CHECK(answer->status == 503);
  CHECK(answer->body == "reload refused: the daemon is stopping\n");
  CHECK(daemon.metric("fiberd_config_reloads_total{result=\"stopping\"}") == 1);
  daemon.process().signal(SIGHUP);
  CHECK(ask(daemon.port("web"), "/") == "200 one");
  CHECK(daemon.stop_again());
  CHECK(daemon.process().wait() == 0);
}

TEST_CASE("the mode of the admin listener's socket changes with the configuration", "[integration][daemon][reload]") {
  const TemporaryDirectory directory;
  const std::string path = directory.path() + "/admin.sock";
  const auto with_mode = [&](const char* mode) {
    return "admin: {address: \"unix:" + path + "\", mode: " + mode + "}\nlisteners:\n" +
           http_listener("web", says("/", "x"));
  };
  Daemon daemon(with_mode("\"0600\""));
  const auto mode = [&] {
    struct stat st {};
    return ::stat(path.c_str(), &st) == 0 ? st.st_mode & 0777U : 0U;
  };
  CHECK(mode() == 0600);
  daemon.write_config(with_mode("\"0640\""));
  daemon.process().signal(SIGHUP);
  REQUIRE(daemon.wait_for_log("reloaded /"));
  CHECK(mode() == 0640);
}

TEST_CASE(
    "a listener that moves asks its old limits about who is in its queue, and frees the address for the next reload",
    "[integration][daemon][reload]") {
  const std::uint16_t before = free_port();
  const auto with = [&](const std::string& address, const char* rate, const std::string& more = {}) {
    return with_listeners("  - {name: t, address: " + address +
                          ", defer_accept: true, tcp: {echo: {}, rate_limit: {rate: " + rate + ", key: address}}}\n" +
                          more);
  };
  Daemon daemon(with(at(before), "1000/s"));
  // Silent, so the kernel holds them back; they are accepted when the old socket closes.
  std::vector<std::unique_ptr<HttpClient>> queued;
  for (int i = 0; i < 8; ++i) queued.push_back(std::make_unique<HttpClient>(before));
  const HttpClient silent(before);  // keeps the old socket open for as long as it may
  CHECK(reload(daemon, with(at(free_port()), "2000/s")).status == 200);
  for (const auto& client : queued) REQUIRE(client->send("hello"));
  for (const auto& client : queued)
    while (client->rest() != "hello") REQUIRE(client->more());
  const Answer taken = reload(
      daemon, with(at(free_port()), "3000/s", "  - {name: next, address: " + at(before) + ", tcp: {echo: {}}}\n"));
  CHECK(taken.status == 200);
  CHECK(is_listened_on(before));
}

TEST_CASE("logs change with the configuration", "[integration][daemon][reload]") {
  const TemporaryDirectory directory;
  const std::string one = directory.path() + "/one";
  const std::string two = directory.path() + "/two";
  const auto logging = [&](const std::string& access, const std::string& log) {
    return with_listeners(
        http_listener("web", says("/", "x"), ", access_log: {format: common, output: " + access + "}"), log);
  };
  Daemon daemon(logging(one, ""));
  CHECK(ask(daemon.port("web"), "/") == "200 x");
  const std::string own = directory.path() + "/own";
  CHECK(reload(daemon, logging(two, "log: {format: json, output: " + own + "}\n")).status == 200);
  CHECK(ask(daemon.port("web"), "/") == "200 x");
  CHECK(eventually([&] { return lines_of(read_file(two)) == 1; }));
  CHECK(lines_of(read_file(one)) == 1);
  CHECK(eventually([&] { return read_file(own).find("\"message\":\"reloaded /") != std::string::npos; }));
  // The same writer again: nothing is lost, and nothing is twice.
  CHECK(reload(daemon, logging(two, "log: {format: json, output: " + own + "}\nshutdown: {idle: 2s}\n")).status == 200);
  CHECK(ask(daemon.port("web"), "/") == "200 x");
  CHECK(eventually([&] { return lines_of(read_file(two)) == 2; }));
  CHECK(reload(daemon, logging("/nowhere/at/all", "")).status == 422);
  CHECK(daemon.stop() == 0);
  CHECK(lines_of(read_file(one)) == 1);
}

TEST_CASE("GOMAXPROCS changes with the configuration", "[integration][daemon][reload]") {
  const auto with = [](int n) {
    return with_listeners(http_listener("web", says("/", "x")), "runtime: {gomaxprocs: " + std::to_string(n) + "}\n");
  };
  Daemon daemon(with(1));
  CHECK(daemon.metric("fiberd_sched_gomaxprocs") == 1);
  CHECK(reload(daemon, with(2)).status == 200);
  CHECK(daemon.metric("fiberd_sched_gomaxprocs") == 2);
  CHECK(ask(daemon.port("web"), "/") == "200 x");
  CHECK(reload(daemon, with(1)).status == 200);
  CHECK(daemon.metric("fiberd_sched_gomaxprocs") == 1);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("who is believed is told among what a reload has changed", "[integration][daemon][reload]") {
  const std::string web = http_listener("web", says("/", "x"));
  Daemon daemon(with_listeners(web, "trusted_proxies: [10.0.0.0/8]\n"));
  CHECK(reload(daemon, with_listeners(web, "trusted_proxies: [127.0.0.0/8]\n")).body.find(" ms: trusted_proxies\n") !=
        std::string::npos);
  CHECK(reload(daemon).body.find("no key has changed") != std::string::npos);
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a stop does not wait for a reload whose disk does not answer", "[integration][daemon][reload][stop]") {
  const TemporaryDirectory dir;
  const std::string answers = dir.path() + "/answers";
  Daemon daemon(with_listeners(http_listener("web", "{path: /echo, echo: {}}")),
                {.environment = {{"DISK_ANSWERS", answers}}, .program = FIBERD_SLOW_DISK});
  const std::uint16_t port = daemon.port("web");
  HttpClient upload(port, 0, 30s);
  upload.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello");
  daemon.process().signal(SIGHUP);
  REQUIRE(daemon.wait_for_log("reading the configuration anew"));
  daemon.process().signal(SIGTERM);
  REQUIRE(daemon.wait_for_log("stopping"));
  // Nobody new is let in, who is there is served to the end, though the reload has not ended.
  CHECK(eventually([&] { return !is_listened_on(port); }));
  upload.send("world");
  const auto answer = upload.receive();
  REQUIRE(answer);
  CHECK(answer->body == "helloworld");
  std::ofstream(answers).close();
  CHECK(daemon.process().wait(20s) == 0);
  CHECK(daemon.wait_for_log("reload refused: the daemon is stopping"));
}
