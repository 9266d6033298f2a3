// fiberd as a library: a program with handlers of its own, and the whole daemon around them.
#include <signal.h>
#include <sys/socket.h>

#include <catch2/catch.hpp>
#include <memory>
#include <vector>

#include "core/context/errc.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"

using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

const std::string kProgram = FIBERD_OWN_HANDLERS;

std::string own(const std::string& shutdown = "30s") {
  return "admin: {address: \"127.0.0.1:0\"}\nshutdown: {timeout: " + shutdown +
         "}\n"
         "listeners:\n"
         "  - name: web\n"
         "    address: \"127.0.0.1:0\"\n"
         "    http:\n"
         "      routes:\n"
         "        - {path: /, handler: greeting}\n"
         "        - {path: /visits, handler: visits}\n"
         "        - {path: /below/*, handler: visits, methods: [POST]}\n"
         "        - {path: /throws, handler: throws}\n"
         "        - {path: /fixed, respond: {body: fixed}}\n"
         "  - {name: second, address: \"127.0.0.1:0\", http: {routes: [{path: /*, handler: visits}]}}\n"
         "  - {name: mirror, address: \"127.0.0.1:0\", tcp: {handler: mirror}}\n"
         "  - {name: patient, address: \"127.0.0.1:0\", tcp: {handler: patient}}\n"
         "  - {name: closes, address: \"127.0.0.1:0\", tcp: {handler: closes}}\n"
         "  - {name: throws, address: \"127.0.0.1:0\", tcp: {handler: throws}}\n";
}

bool receive(HttpClient& client, std::string_view text) {
  while (client.rest().size() < text.size())
    if (!client.more()) return false;
  return client.rest() == text;
}

}  // namespace

TEST_CASE("a program's own handlers are served where the configuration names them", "[integration][handlers]") {
  Daemon daemon(own(), {.program = kProgram});
  HttpClient web(daemon.port("web"));
  HttpClient second(daemon.port("second"));
  CHECK(web.ask(get("/"))->body == "hello");
  CHECK(web.ask(get("/fixed"))->body == "fixed");
  CHECK(web.ask(get("/nowhere"))->status == 404);
  // One object for all routes and listeners.
  CHECK(web.ask(get("/visits"))->body == "1");
  CHECK(second.ask(get("/any"))->body == "2");
  CHECK(web.ask(get("/below/x"))->status == 405);
  CHECK(web.ask("POST /below/x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")->body == "3");
  CHECK(daemon.metric("fiberd_http_requests_total{listener=\"web\",route=\"/\",method=\"GET\",code=\"200\"}") == 1.0);

  HttpClient mirror(daemon.port("mirror"));
  mirror.send("to and fro");
  CHECK(receive(mirror, "to and fro"));
  mirror.finish_sending();
  CHECK(receive(mirror, "to and frobye"));
  while (mirror.more()) {
  }
  CHECK(mirror.ended());
  CHECK(eventually([&] { return daemon.metric("fiberd_listener_connections{listener=\"mirror\"}") == 0.0; }));
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what a program's handler throws ends its request or connection only, and is logged and counted",
          "[integration][handlers]") {
  Daemon daemon(own(), {.program = kProgram});
  HttpClient web(daemon.port("web"));
  CHECK(web.ask(get("/throws"))->status == 500);
  CHECK(daemon.wait_for_log("handler of /throws threw: std::runtime_error: on purpose; thrown at:"));
  CHECK(daemon.metric("fiberd_http_handler_exceptions_total{listener=\"web\"}") == 1.0);
  for (int i = 0; i < 2; ++i) {
    HttpClient client(daemon.port("throws"));
    CHECK(client.wait_end());
  }
  CHECK(daemon.wait_for_log("TCP handler throws threw: std::runtime_error: on purpose, too; thrown at:"));
  CHECK(eventually([&] { return daemon.metric("fiberd_tcp_handler_exceptions_total{listener=\"throws\"}") == 2.0; }));
  CHECK(daemon.metric("fiberd_tcp_handler_exceptions_total{listener=\"mirror\"}") == 0.0);
  CHECK(daemon.metric("fiberd_fibers_panicked_total") == 0.0);
  HttpClient again(daemon.port("web"));
  CHECK(again.ask(get("/"))->body == "hello");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a client that resets its connection ends the context of its TCP handler", "[integration][handlers]") {
  Daemon daemon(own(), {.program = kProgram});
  {
    HttpClient client(daemon.port("patient"));
    REQUIRE(receive(client, "waiting"));
    const linger hard{1, 0};
    REQUIRE(::setsockopt(client.fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard) == 0);
  }
  CHECK(daemon.wait_for_log("patient ended: " + std::error_code(fiberd::context::errc::canceled).message() + ", " +
                            std::make_error_code(std::errc::connection_reset).message()));
  // One that has only said all is still waited for.
  HttpClient half(daemon.port("patient"));
  REQUIRE(receive(half, "waiting"));
  half.finish_sending();
  HttpClient other(daemon.port("mirror"));
  other.send("x");
  REQUIRE(receive(other, "x"));
  CHECK(daemon.metric("fiberd_listener_connections{listener=\"patient\"}") == 1.0);
}

TEST_CASE("a TCP handler may close its connection before it returns", "[integration][handlers]") {
  Daemon daemon(own(), {.program = kProgram});
  // Their descriptors are used again, by others, while handlers that have closed theirs go on.
  for (int round = 0; round < 20; ++round) {
    std::vector<std::unique_ptr<HttpClient>> clients;
    for (int i = 0; i < 8; ++i) clients.push_back(std::make_unique<HttpClient>(daemon.port("closes")));
    for (const auto& client : clients) {
      CHECK(receive(*client, "closing"));
      CHECK_FALSE(client->more());
      const linger hard{1, 0};
      (void)::setsockopt(client->fd(), SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    }
  }
  CHECK(daemon.stop() == 0);
  CHECK(daemon.log().find("the context of a connection that the handler closed ended") == std::string::npos);
}

TEST_CASE("a stop ends the reading of TCP handlers, and at shutdown.timeout their contexts",
          "[integration][handlers]") {
  Daemon daemon(own("1500ms"), {.program = kProgram});
  HttpClient mirror(daemon.port("mirror"));
  mirror.send("x");
  REQUIRE(receive(mirror, "x"));
  HttpClient patient(daemon.port("patient"));
  REQUIRE(receive(patient, "waiting"));
  daemon.process().signal(SIGTERM);
  CHECK(receive(mirror, "xbye"));
  CHECK_FALSE(patient.more());
  CHECK(daemon.process().wait() == 0);
  CHECK(daemon.log().find("patient ended: " + std::error_code(fiberd::context::errc::canceled).message()) !=
        std::string::npos);
  CHECK(daemon.wait_for_log("1 connections were cut at shutdown.timeout"));
}

TEST_CASE("what a program starts stands before anything is accepted, and ends when nobody is served any more",
          "[integration][handlers]") {
  const TemporaryDirectory directory;
  Daemon daemon(own(), {.program = kProgram});
  HttpClient patient(daemon.port("patient"));
  REQUIRE(receive(patient, "waiting"));
  daemon.process().signal(SIGTERM);
  REQUIRE(daemon.wait_for_log("signal SIGTERM: stopping"));
  CHECK(daemon.stop_again());  // does not wait for shutdown.timeout
  CHECK(daemon.process().wait() == 0);
  const std::string log = daemon.log();
  std::size_t last = 0;
  for (const char* line :
       {"first start function", "second start function", " started: ", "patient ended: ", "first stop function",
        "on_stop threw: on purpose, at the end; thrown at:", "last stop function", " stopped\n"}) {
    INFO(line);
    const std::size_t at = log.find(line);
    REQUIRE(at != std::string::npos);
    CHECK(last <= at);
    last = at;
  }
  CHECK(log.find("ticker ended: " + std::error_code(fiberd::context::errc::canceled).message()) != std::string::npos);
}

TEST_CASE("a program whose start fails ends with 1, and what it had started is stopped", "[integration][handlers]") {
  const TemporaryDirectory directory;
  const std::string yaml = directory.write("own.yaml", own());
  for (const char* how : {"error", "throw"}) {
    Process process({.arguments = {kProgram, "-c", yaml}, .environment = {{"FAIL_START", how}}});
    CHECK(process.wait() == 1);
    const std::string log = process.errors();
    INFO(log);
    if (*how == 'e')
      CHECK(log.find("cannot start: on_start, function 3: " +
                     std::make_error_code(std::errc::host_unreachable).message()) != std::string::npos);
    else
      CHECK(log.find("on_start threw: on purpose, at the start; thrown at:") != std::string::npos);
    CHECK(log.find(" started: ") == std::string::npos);
    CHECK(log.find("ticker ended: ") != std::string::npos);
    CHECK(log.find("last stop function") != std::string::npos);
  }
}

TEST_CASE("handlers that a program has not are refused at check and at start", "[integration][handlers]") {
  const TemporaryDirectory directory;
  const std::string wrong = directory.write("wrong.yaml",
                                            "listeners:\n"
                                            "- {name: w, address: \"127.0.0.1:0\", http: {routes: [{path: /, handler: "
                                            "greting}]}}\n"
                                            "- {name: t, address: \"127.0.0.1:0\", tcp: {handler: miror}}\n");
  for (const std::vector<std::string>& command :
       {std::vector<std::string>{kProgram, "check", wrong}, {kProgram, "run", "-c", wrong}, {kProgram, "-c", wrong}}) {
    const Finished refused = run(command);
    CHECK(refused.code == 2);
    CHECK(refused.errors ==
          wrong +
              ":2:72: listeners[0].http.routes[0].handler: this program has no HTTP handler \"greting\"; did you "
              "mean greeting?\n" +
              wrong +
              ":3:52: listeners[1].tcp.handler: this program has no TCP handler \"miror\"; did you mean mirror?\n");
  }
  const std::string good = directory.write("good.yaml", own());
  CHECK(run({kProgram, "check", good}).code == 0);
  const Finished plain = run({FIBERD_BINARY, "check", good});
  CHECK(plain.code == 2);
  CHECK(plain.errors.find("this program has no HTTP handler \"greeting\"; it has none") != std::string::npos);
  CHECK(plain.errors.find("this program has no TCP handler \"mirror\"; it has none") != std::string::npos);
}

TEST_CASE("a program that registers wrongly does not start, and says all of it", "[integration][handlers]") {
  const TemporaryDirectory directory;
  Process process(
      {.arguments = {kProgram, "check", directory.write("good.yaml", own())}, .environment = {{"MISTAKES", "1"}}});
  CHECK(process.wait() == 2);
  CHECK(process.errors() ==
        "HTTP handler \"greeting\": registered twice\n"
        "TCP handler \"mirror\": registered twice\n"
        "TCP handler \"no name\": needs a name of 1 … 64 characters without blanks, and a handler\n"
        "HTTP handler \"nothing\": needs a name of 1 … 64 characters without blanks, and a handler\n"
        "filter \"stamps\": registered twice\n"
        "filter \"nothing\": needs a name of 1 … 64 characters without blanks, and a filter\n");
}

TEST_CASE("a program with handlers of its own has the whole command line", "[integration][handlers]") {
  const TemporaryDirectory directory;
  CHECK(run({kProgram, "version"}).output == run({FIBERD_BINARY, "version"}).output);
  CHECK(run({kProgram, "config", "schema"}).output == run({FIBERD_BINARY, "config", "schema"}).output);
  const Finished preset = run({kProgram, "config", "default"});
  CHECK(preset.output == "listeners: [{name: own, address: \"127.0.0.1:0\", tcp: {handler: mirror}}]\n");
  CHECK(run({kProgram, "check", directory.write("default.yaml", preset.output)}).code == 0);
  // One with handlers and no default of its own would serve fiberd's demo, and none of them.
  const Finished nothing = run({FIBERD_GREETER});
  CHECK(nothing.code == 2);
  CHECK(nothing.errors.find(
            "no configuration: the built-in one serves none of this program's handlers (greeting, shout)") !=
        std::string::npos);
  CHECK(nothing.errors.find("-c FILE") != std::string::npos);
  // Without -c the program's own default runs; --set changes it.
  Process process({.arguments = {kProgram, "--set", "admin.address=off", "--set", "listeners[0].name=other"}});
  CHECK(eventually([&] { return process.errors().find(" started: ") != std::string::npos; }));
  CHECK(process.errors().find(": other (tcp)") != std::string::npos);
  process.signal(SIGTERM);
  CHECK(process.wait() == 0);
}

namespace {

std::string filtered(const std::string& of_listener, const std::string& of_route) {
  return "admin: {address: \"127.0.0.1:0\"}\n"
         "listeners:\n"
         "- name: web\n"
         "  address: \"127.0.0.1:0\"\n"
         "  http:\n" +
         of_listener + "    routes:\n    - {path: /fixed, " + of_route +
         "respond: {body: fixed}}\n"
         "    - {path: /plain, respond: {body: plain}}\n";
}

}  // namespace

TEST_CASE("a program's own filters stand where the configuration names them", "[integration][handlers][filters]") {
  Daemon daemon(filtered("    filters: [stamps]\n", "filters: [stamps, guards], headers: {set: {X-Inner: yes}}, "),
                {.program = kProgram});
  HttpClient web(daemon.port("web"));
  const auto in = web.ask(get("/fixed", "X-Key: open\r\n"));
  REQUIRE(in);
  CHECK(in->body == "fixed");
  // One object, which has seen the request twice: around the listener, and around the route, which said it last.
  CHECK(in->field("X-Stamp") == "2");
  CHECK(in->field("X-Inner") == "yes");
  const auto out = web.ask(get("/fixed"));
  REQUIRE(out);
  CHECK(out->status == 403);
  CHECK(out->body == "no key");
  CHECK(out->field("X-Stamp") == "4");
  CHECK(out->field("X-Inner").empty());  // it stands behind the one that refused
  CHECK(web.ask(get("/plain"))->field("X-Stamp") == "5");
  CHECK(web.ask(get("/nowhere"))->field("X-Stamp") == "6");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("what a program's filter throws is a 500 that is logged and counted", "[integration][handlers][filters]") {
  Daemon daemon(filtered("", "filters: [trips], "), {.program = kProgram});
  HttpClient web(daemon.port("web"));
  CHECK(web.ask(get("/fixed"))->status == 500);
  CHECK(daemon.wait_for_log("threw: std::runtime_error: tripped; thrown at:"));
  CHECK(daemon.metric("fiberd_http_handler_exceptions_total{listener=\"web\"}") == 1.0);
  CHECK(web.ask(get("/plain"))->body == "plain");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("a reload puts a program's filters elsewhere, and they are the same ones",
          "[integration][handlers][filters]") {
  Daemon daemon(filtered("    filters: [stamps]\n", ""), {.program = kProgram});
  HttpClient web(daemon.port("web"));
  HttpClient admin(daemon.port("admin"), 0, 30s);
  const auto reload = [&](const std::string& yaml) {
    daemon.write_config(yaml);
    const auto answer = admin.ask("POST /reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n");
    REQUIRE(answer);
    return *answer;
  };
  CHECK(web.ask(get("/fixed"))->field("X-Stamp") == "1");
  CHECK(reload(filtered("", "filters: [guards, stamps], ")).status == 200);
  CHECK(web.ask(get("/fixed"))->status == 403);
  CHECK(web.ask(get("/fixed", "X-Key: open\r\n"))->field("X-Stamp") == "2");
  CHECK(web.ask(get("/plain"))->field("X-Stamp").empty());
  const Answer refused = reload(filtered("", "filters: [gaurds], "));
  CHECK(refused.status == 422);
  CHECK(refused.body.find("did you mean guards?") != std::string::npos);
  CHECK(web.ask(get("/fixed", "X-Key: open\r\n"))->field("X-Stamp") == "3");
  CHECK(daemon.stop() == 0);
}

TEST_CASE("filters that a program has not are refused at check and at start", "[integration][handlers][filters]") {
  const TemporaryDirectory directory;
  const auto said = [&](const std::string& program, const std::string& yaml) {
    const std::string file = directory.write("f.yaml", yaml);
    const Finished checked = run({program, "check", file});
    const Finished ran = run({program, "run", "-c", file});
    CHECK(checked.code == 2);
    CHECK(ran.code == 2);
    CHECK(checked.errors == ran.errors);
    return checked.errors.substr(std::min(checked.errors.size(), directory.path().size() + 1));
  };
  CHECK(said(kProgram, filtered("    filters: [stamps, stmps]\n", "")) ==
        "f.yaml:6:23: listeners[0].http.filters[1]: this program has no filter \"stmps\"; did you mean stamps?\n");
  CHECK(
      said(kProgram, filtered("", "filters: [greeting], ")) ==
      "f.yaml:7:32: listeners[0].http.routes[0].filters[0]: this program has no filter \"greeting\"; it has a handler "
      "with that name\n");
  CHECK(said(kProgram, filtered("", "filters: [nothing-like-it], ")).find("it has: guards stamps trips") !=
        std::string::npos);
  CHECK(said(FIBERD_BINARY, filtered("", "filters: [stamps], ")).find("registered in C++ (docs/handlers.md)") !=
        std::string::npos);
}
