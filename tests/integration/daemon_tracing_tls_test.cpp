// A collector that is asked by https, as a process.
#include <catch2/catch.hpp>
#include <string>

#include "tests/support/collector.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/http_fixture.hpp"
#include "tests/support/tls_server.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

std::string tracing_by_https(const HostileUpstream& upstream, const std::string& tls) {
  const std::string plain = upstream.url("/v1/traces");
  return "admin: {address: \"127.0.0.1:0\"}\ntracing: {endpoint: \"https" + plain.substr(4) +
         "\", sample: {ratio: 1}, batch: {delay: 10ms}" + tls +
         "}\nlisteners:\n  - {name: web, address: \"127.0.0.1:0\", http: {routes: [{path: /, respond: {body: hi}}]}}\n";
}

void get_root(const Daemon& daemon) {
  HttpClient client(daemon.port("web"));
  const auto answer = client.ask(get("/"));
  REQUIRE(answer);
  CHECK(answer->status == 200);
}

}  // namespace

TEST_CASE("spans go to a collector by https that proves its name, and to no other", "[integration][tracing][tls]") {
  TlsSeen seen;
  const TlsServer server;
  const HostileUpstream upstream({server.script(std::string(Collector::kTaken), TlsServer::End::keep, seen)});
  const TemporaryDirectory folder;
  const std::string ca = folder.write("ca.pem", kTestCa);
  {
    const Daemon daemon(tracing_by_https(upstream, ", tls: {ca: \"" + ca + "\"}"));
    get_root(daemon);
    CHECK(eventually([&] { return daemon.metric("fiberd_tracing_exports_total{result=\"ok\"}").value_or(0) > 0; }));
    CHECK(server.requests() > 0);
  }
  const unsigned asked = server.requests();
  const Daemon daemon(tracing_by_https(upstream, ""));
  get_root(daemon);
  CHECK(eventually([&] { return daemon.metric("fiberd_tracing_exports_total{result=\"failed\"}").value_or(0) > 0; }));
  CHECK(eventually([&] { return daemon.log().find("name its authority's certificate as `ca`") != std::string::npos; }));
  CHECK(server.requests() == asked);
}

TEST_CASE("check refuses a collector's certificates that are none, by their place", "[integration][tracing][tls]") {
  const TemporaryDirectory folder;
  const std::string garbage = folder.write("garbage.pem", "garbage");
  const std::string empty = folder.write("empty.pem", "");
  const std::string certificate = folder.write("certificate.pem", kTestCertificate);
  const std::string begin = "tracing: {endpoint: \"https://127.0.0.1:1/\", tls: {";
  const std::string end =
      "}}\nlisteners: [{name: web, address: \"127.0.0.1:0\", http: {routes: [{path: /, echo: {}}]}}]\n";
  const auto refused = [&](const std::string& tls) {
    const Finished done = run({FIBERD_BINARY, "check", folder.write("f.yaml", begin + tls + end)});
    CHECK(done.code == 2);
    return done.output + done.errors;
  };
  CHECK(refused("ca: \"/none.pem\"").find("tracing.tls.ca: /none.pem: ") != std::string::npos);
  for (const std::string& file : {garbage, empty})
    CHECK(refused("ca: \"" + file + "\"").find("holds no certificate in PEM") != std::string::npos);
  CHECK(refused("certificate: \"" + certificate + "\", key: \"" + garbage + "\"").find("is not its key") !=
        std::string::npos);
}
