// An aggregate that is sent to by https, as a process.
#include <catch2/catch.hpp>
#include <string>

#include "tests/support/daemon.hpp"
#include "tests/support/tls_server.hpp"

using namespace fiberd;
using namespace fiberd::test;

namespace {

constexpr const char* kTaken = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";

std::string aggregate_by_https(const HostileUpstream& upstream, const std::string& tls) {
  return "admin: {address: \"127.0.0.1:0\"}\nlisteners:\n  - {name: stats, address: \"127.0.0.1:0\", aggregate: "
         "{protocol: tcp, flush_interval: 50ms, flush: [{prometheus: \"https" +
         upstream.url("/metrics").substr(4) + "\"" + tls + "}]}}\n";
}

}  // namespace

TEST_CASE("an aggregate goes by https to who is proved by tls.ca, and shows its certificate", "[integration][tls]") {
  TlsSeen seen;
  const TlsServer server({}, TLS1_3_VERSION, true);
  const HostileUpstream upstream({server.script(kTaken, TlsServer::End::keep, seen)});
  const TemporaryDirectory folder;
  const std::string ca = folder.write("ca.pem", kTestCa);
  const std::string certificate = folder.write("client.pem", kTestCertificate);
  const std::string key = folder.write("client.key", kTestKey);
  {
    const Daemon daemon(aggregate_by_https(
        upstream, ", tls: {ca: \"" + ca + "\", certificate: \"" + certificate + "\", key: \"" + key + "\"}"));
    CHECK(eventually([&] { return server.requests() != 0; }));
    const std::lock_guard guard(seen.lock);
    CHECK_FALSE(seen.client.empty());
  }
  const unsigned asked = server.requests();
  const Daemon daemon(aggregate_by_https(upstream, ""));
  CHECK(eventually([&] { return daemon.log().find("name its authority's certificate as `ca`") != std::string::npos; }));
  CHECK(server.requests() == asked);
}

TEST_CASE("check and run refuse an aggregate's certificates that are none, by their place", "[integration][tls]") {
  TlsSeen seen;
  const TlsServer server;
  const HostileUpstream upstream({server.script(kTaken, TlsServer::End::keep, seen)});
  const TemporaryDirectory folder;
  const std::string file = folder.write("f.yaml", aggregate_by_https(upstream, ", tls: {ca: /none.pem}"));
  for (const char* const command : {"check", "run"}) {
    const Finished done = run({FIBERD_BINARY, command, file});
    INFO(done.output << done.errors);
    CHECK(done.code != 0);
    CHECK((done.output + done.errors).find("flush[0].tls.ca: /none.pem: ") != std::string::npos);
  }
  std::string plain = aggregate_by_https(upstream, ", tls: {ca: /none.pem}");
  plain.replace(plain.find("https:"), 6, "http:");
  const Finished done = run({FIBERD_BINARY, "check", folder.write("p.yaml", plain)});
  CHECK(done.code == 2);
  CHECK((done.output + done.errors).find("has no effect") != std::string::npos);
}
