// The client over TLS, against servers that OpenSSL drives itself in threads that block.
#include <catch2/catch.hpp>
#include <ctime>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "core/context/context.hpp"
#include "core/context/errc.hpp"
#include "core/http/client/errc.hpp"
#include "core/tls/made_certificate.hpp"
#include "core/tls/private_key.hpp"
#include "tests/support/client_fixture.hpp"
#include "tests/support/tls_server.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace std::chrono_literals;
using http::client_errc;
using http::ClientFailure;

namespace {

using Identity = TlsIdentity;
using TlsEnd = TlsServer::End;

const std::string kOkOverTls = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

std::shared_ptr<const tls::ClientContext> believing(std::string ca, const Identity& us = {{}, {}}) {
  auto made = tls::ClientContext::make(
      {.ca = std::move(ca), .certificate = us.certificate, .key = us.key, .protocols = {"http/1.1"}});
  REQUIRE(made);
  return *made;
}

std::string url_of(const HostileUpstream& upstream, const std::string& host = "127.0.0.1") {
  const std::string plain = upstream.url("/");
  return "https://" + host + plain.substr(plain.rfind(':'));
}

Identity self_signed(const std::vector<std::string>& names, std::int64_t from, std::int64_t to) {
  const auto key = tls::PrivateKey::make();
  REQUIRE(key);
  return {tls::make_self_signed(*key, {names, from, to, {}}).value(), key->to_pem().value()};
}

}  // namespace

TEST_CASE("client over TLS: a server that proves its name is asked, and its connection is kept",
          "[integration][client][tls]") {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsSeen seen;
    const TlsServer server({}, version);
    const HostileUpstream upstream({server.script(kOkOverTls, TlsEnd::keep, seen)});
    ClientFixture rig({.tls = believing(kTestCa)});
    for (const bool again : {false, true}) {
      const Fetched got = rig.get(url_of(upstream, "localhost"));
      INFO(got.error.message());
      CHECK_FALSE(got.error);
      CHECK(got.body == "ok");
      CHECK(got.reused == again);
    }
    CHECK(rig.client().idle() == 1);
    // Another name at the same place is another connection, and no name is said of an address.
    CHECK(rig.get(url_of(upstream)).body == "ok");
    CHECK(upstream.connections() == 2);
    const std::lock_guard guard(seen.lock);
    CHECK(seen.names == std::vector<std::string>{"localhost", ""});
    CHECK(seen.protocol == "http/1.1");
    CHECK(rig.metrics.handshakes->value() == 2);
  }
}

TEST_CASE("client over TLS: the next connection resumes the session of one before", "[integration][client][tls]") {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsSeen seen;
    const TlsServer server({}, version);
    const HostileUpstream upstream({server.script(kOkOverTls, TlsEnd::keep, seen)});
    ClientFixture rig({.tls = believing(kTestCa)});
    for (int i = 0; i < 3; ++i) CHECK(rig.fetch({.url = url_of(upstream), .close = true}).body == "ok");
    CHECK(rig.metrics.handshakes->value() == 3);
    CHECK(rig.metrics.resumed->value() == 2);
    // Not under another name.
    CHECK(rig.fetch({.url = url_of(upstream, "localhost"), .close = true}).body == "ok");
    CHECK(rig.metrics.resumed->value() == 2);
    const std::lock_guard guard(seen.lock);
    CHECK(seen.resumed == 2);
  }
}

TEST_CASE("client over TLS: whoever proves nothing gets nothing, and is told apart", "[integration][client][tls]") {
  const std::int64_t now = std::time(nullptr);
  const Identity expired = self_signed({"127.0.0.1"}, now - 86'400, now - 3600);
  const Identity early = self_signed({"127.0.0.1"}, now + 86'400, now + 2 * 86'400);
  const Identity elsewhere = self_signed({"elsewhere.example"}, now - 86'400, now + 86'400);
  struct Row {
    Identity identity;
    std::string ca;
    client_errc error;
    std::string_view remedy;
  };
  for (const Row& row : {Row{expired, expired.certificate, client_errc::certificate_expired, "renewed"},
                         Row{early, early.certificate, client_errc::certificate_not_yet_valid, "clock"},
                         Row{elsewhere, elsewhere.certificate, client_errc::name_mismatch, "name that it has"},
                         Row{{}, elsewhere.certificate, client_errc::unknown_issuer, "`ca`"},
                         Row{{}, "", client_errc::unknown_issuer, "ca-certificates"}}) {
    TlsSeen seen;
    const TlsServer server(row.identity);
    const HostileUpstream upstream({server.script(kOkOverTls, TlsEnd::keep, seen)});
    ClientFixture rig(row.ca.empty() ? http::ClientOptions{} : http::ClientOptions{.tls = believing(row.ca)});
    const Fetched got = rig.get(url_of(upstream));
    INFO(got.error.message());
    CHECK(got.error == row.error);
    CHECK(got.error == std::errc::protocol_error);
    CHECK(got.error.message().find(row.remedy) != std::string::npos);
    CHECK(rig.failures(ClientFailure::tls) == 1);
    CHECK(server.requests() == 0);
    CHECK(rig.metrics.handshakes->value() == 0);
    CHECK(rig.metrics.connections->value() == 0);
  }
}

TEST_CASE("client over TLS: a server that speaks something else, or nothing", "[integration][client][tls]") {
  SECTION("plain HTTP") {
    const HostileUpstream upstream({[](UpstreamPeer& peer) {
      peer.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
      (void)peer.wait_for_end();
    }});
    ClientFixture rig({.tls = believing(kTestCa)});
    CHECK(rig.get(url_of(upstream)).error == client_errc::not_tls);
  }
  SECTION("an end in the middle of the handshake") {
    const HostileUpstream upstream({[](UpstreamPeer& peer) { peer.end(); }});
    ClientFixture rig({.tls = believing(kTestCa)});
    CHECK(rig.get(url_of(upstream)).error == client_errc::tls_failed);
    CHECK(rig.failures(ClientFailure::tls) == 1);
  }
  SECTION("silence, until the client's own patience ends") {
    const HostileUpstream upstream({[](UpstreamPeer& peer) { (void)peer.wait_for_end(); }});
    ClientFixture rig({.timeouts = {.connect = 50ms}, .tls = believing(kTestCa)});
    CHECK(rig.get(url_of(upstream)).error == client_errc::connect_timeout);
  }
  SECTION("silence, until the call's context ends") {
    const HostileUpstream upstream({[](UpstreamPeer& peer) { (void)peer.wait_for_end(); }});
    ClientFixture rig({.tls = believing(kTestCa)});
    Fetched got;
    rig.run([&] {
      const context::Cancelable limit = context::with_timeout(context::background(), 50ms);
      got = fetch(limit.context, rig.client(), {.url = url_of(upstream)});
      limit.cancel();
    });
    CHECK(got.error == context::errc::deadline_exceeded);
    CHECK(rig.failures(ClientFailure::deadline) == 1);
  }
}

TEST_CASE("client over TLS: a server that wants a certificate", "[integration][client][tls]") {
  for (const int version : {TLS1_2_VERSION, TLS1_3_VERSION}) {
    TlsSeen seen;
    const TlsServer server({}, version, true);
    const HostileUpstream upstream({server.script(kOkOverTls, TlsEnd::keep, seen)});
    {
      ClientFixture rig({.tls = believing(kTestCa)});
      const Fetched refused = rig.get(url_of(upstream));
      INFO(refused.error.message());
      CHECK(refused.error == client_errc::tls_refused);
      CHECK(refused.error.message().find("client certificate") != std::string::npos);
      CHECK(server.requests() == 0);
    }
    ClientFixture rig({.tls = believing(kTestCa, Identity())});
    CHECK(rig.get(url_of(upstream)).body == "ok");
    const std::lock_guard guard(seen.lock);
    CHECK_FALSE(seen.client.empty());
  }
}

TEST_CASE("client over TLS: a body that ends with the connection is whole only if the server has said so",
          "[integration][client][tls]") {
  const std::string until_end = "HTTP/1.1 200 OK\r\n\r\nall of it";
  for (const TlsEnd end : {TlsEnd::close_notify, TlsEnd::fin}) {
    TlsSeen seen;
    const TlsServer server;
    const HostileUpstream upstream({server.script(until_end, end, seen)});
    ClientFixture rig({.tls = believing(kTestCa)});
    const Fetched got = rig.get(url_of(upstream));
    if (end == TlsEnd::fin) {
      CHECK(got.error == client_errc::truncated_body);
    } else {
      CHECK_FALSE(got.error);
      CHECK(got.body == "all of it");
    }
  }
}

TEST_CASE("client over TLS: of a kept connection that its server ended without a word a request is sent again",
          "[integration][client][tls]") {
  TlsSeen seen;
  const TlsServer server;
  // The first connection ends behind its answer; the client finds out when it asks, or before.
  const HostileUpstream upstream(
      {server.script(kOkOverTls, TlsEnd::fin, seen), server.script(kOkOverTls, TlsEnd::keep, seen)});
  ClientFixture rig({.pool = {.trust = 10s}, .tls = believing(kTestCa)});
  CHECK(rig.get(url_of(upstream)).body == "ok");
  const Fetched got = rig.get(url_of(upstream));
  INFO(got.error.message());
  CHECK(got.body == "ok");
  CHECK(upstream.connections() == 2);
}
