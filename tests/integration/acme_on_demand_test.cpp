// Certificates for names that clients say: as a process, with an operator's URL that allows some, and pebble.
#include <catch2/catch.hpp>
#include <string>

#include "tests/support/daemon.hpp"
#include "tests/support/free_port.hpp"
#include "tests/support/hostile_upstream.hpp"
#include "tests/support/pebble.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;

namespace {

/// Allows what begins with "good", fails for what begins with "broken".
HostileUpstream::Script allows_some() {
  return [](UpstreamPeer& peer) {
    while (const auto head = peer.read_head()) {
      const bool good = head->find("domain=good") != std::string::npos;
      const bool broken = head->find("domain=broken") != std::string::npos;
      const std::string status = good ? "200 OK" : broken ? "500 No" : "404 Not Found";
      if (!peer.send("HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n")) return;
    }
  };
}

std::string issuer_of(std::uint16_t port, const std::string& name) {
  return run({"sh", "-c",
              "echo | openssl s_client -connect 127.0.0.1:" + std::to_string(port) + " -servername " + name +
                  " 2>/dev/null | openssl x509 -noout -issuer -ext subjectAltName 2>/dev/null"})
      .output;
}

std::string on_demand(const std::string& directory, const std::string& ca, const std::string& storage,
                      const std::string& ask, std::uint16_t secure) {
  return "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n  - {name: web, address: \"127.0.0.1:" +
         std::to_string(secure) + "\", tls: {acme: {domains: [www.test.example], directory: \"" + directory +
         "\", storage: \"" + storage + "\"" + (ca.empty() ? "" : ", authority: {ca: \"" + ca + "\"}") +
         ", challenge: tls-alpn-01, on_demand: {ask: \"" + ask +
         "\", orders: 2/h}}}, http: {routes: [{path: /, respond: {body: hello}}]}}\n";
}

double came_of(const Daemon& daemon, const std::string& result) {
  return daemon.metric("fiberd_acme_on_demand_names_total{result=\"" + result + "\"}").value_or(0);
}

}  // namespace

TEST_CASE("tls.acme.on_demand: a name that the operator's URL allows has its certificate soon, others never",
          "[integration][acme][tls]") {
  if (!Pebble::is_there()) {
    WARN("skipped: pebble and pebble-challtestsrv are not there (apt-get install pebble)");
    return;
  }
  const HostileUpstream ask({allows_some()});
  const std::uint16_t secure = free_port();
  const Pebble pebble({.tls_port = secure});
  REQUIRE(pebble.ready());
  const TemporaryDirectory folder;
  const std::string text =
      on_demand(pebble.directory(), pebble.ca_file(), folder.path() + "/state", ask.url("/ok"), secure);
  {
    Daemon daemon(text);
    INFO(daemon.log());
    // The listener's own comes first: of one store one asks at a time.
    REQUIRE(eventually([&] { return daemon.metric("fiberd_acme_certificates_total") == 1; }, 120s));
    // No handshake waits: the first is shown something else.
    CHECK(issuer_of(secure, "good1.test.example").find("good1.test.example") == std::string::npos);
    REQUIRE(eventually(
        [&] { return issuer_of(secure, "good1.test.example").find("DNS:good1.test.example") != std::string::npos; },
        120s));
    CHECK(issuer_of(secure, "GOOD1.test.example").find("Pebble") != std::string::npos);
    CHECK(came_of(daemon, "issued") == 1);
    (void)issuer_of(secure, "bad.test.example");
    CHECK(eventually([&] { return came_of(daemon, "denied") == 1; }));
    (void)issuer_of(secure, "bad.test.example");
    (void)issuer_of(secure, "broken.test.example");
    CHECK(eventually([&] { return came_of(daemon, "unanswered") == 1; }));
    CHECK(daemon.wait_for_log("answered 500"));
    CHECK(came_of(daemon, "denied") == 1);  // it is not asked again so soon
    // Two in an hour, whatever is allowed.
    REQUIRE(eventually(
        [&] {
          (void)issuer_of(secure, "good2.test.example");
          return came_of(daemon, "issued") == 2;
        },
        120s));
    for (int i = 0; i < 3; ++i) (void)issuer_of(secure, "good3.test.example");
    for (int i = 0; i < 3; ++i) (void)issuer_of(secure, "good4.test.example");
    CHECK(eventually([&] { return came_of(daemon, "limited") >= 1; }));
    CHECK(daemon.metric("fiberd_bugs_total").value_or(0) == 0);
    CHECK(daemon.stop() == 0);
  }
  // The next process has it from the disk, and asks nobody.
  const unsigned asked = ask.requests();
  const Daemon again(text);
  CHECK(eventually(
      [&] { return issuer_of(secure, "good1.test.example").find("DNS:good1.test.example") != std::string::npos; },
      120s));
  CHECK(came_of(again, "loaded") == 1);
  CHECK(ask.requests() == asked);
}

TEST_CASE("tls.acme.on_demand: check wants to know who allows names", "[integration][acme][tls]") {
  const TemporaryDirectory folder;
  const auto says = [&](const std::string& ask) {
    std::string text = on_demand("https://127.0.0.1:1/dir", "", folder.path() + "/state", ask, 0);
    const Finished done = run({FIBERD_BINARY, "check", folder.write("f.yaml", text)});
    return std::to_string(done.code) + " " + done.output + done.errors;
  };
  CHECK(says("http://127.0.0.1:9000/is-ours").starts_with("0 "));
  CHECK(says("").find("who says which names are yours?") != std::string::npos);
  CHECK(says("ftp://a/").starts_with("2 "));
}
