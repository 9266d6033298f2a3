#include "core/tls/peer_certificate.hpp"

#include <catch2/catch.hpp>
#include <ctime>
#include <string>

#include "core/tls/server_context.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/tls_handshake.hpp"

using namespace fiberd;

TEST_CASE("what a client's certificate says of it, also when its session is resumed", "[tls][mtls]") {
  const test::TestAuthority clients("clients");
  const test::MadePair alice = clients.issue({.names = {"alice.example", "b.example"}});
  const test::MadePair own = clients.issue({.names = {"a.example.org"}});
  const test::TemporaryDirectory files;
  std::string why;
  bool of_crl = false;
  const auto plain = tls::ServerContext::make({.certificate = own.certificate, .key = own.key}).value();
  const auto server =
      tls::ServerContext::make({.certificates = plain->options().certificates,
                                .client_auth = tls::ClientAuth::load({files.write("ca.pem", clients.certificate())},
                                                                     tls::ClientAuthMode::request, why, of_crl)
                                                   .value(),
                                .tickets = tls::TicketKeys::random().value()},
                               why)
          .value();
  for (const int most : {0x0303, 0x0304}) {
    const auto met = [&](const test::MadePair& pair, ssl_session_st* resumed) {
      const tls::SslHandle session = server->new_session();
      test::TlsOutcome out = test::shake_hands(
          *session, {.most = most, .certificate = pair.certificate, .key = pair.key, .session = resumed});
      CHECK(out.done);
      CHECK(out.resumed == (resumed != nullptr));
      net::TlsPeer peer;
      tls::read_peer_certificate(*session, peer);
      return std::pair(std::move(out.session), peer);
    };
    const auto [session, known] = met(alice, nullptr);
    for (const net::TlsPeer& peer : {known, met(alice, session.get()).second}) {
      CHECK(peer.subject == "CN=alice.example");
      CHECK(peer.names == std::vector<std::string>{"DNS:alice.example", "DNS:b.example"});
      CHECK(peer.fingerprint.size() == 64);
      CHECK(peer.fingerprint == known.fingerprint);
    }
    const net::TlsPeer nobody = met({}, nullptr).second;
    CHECK((nobody.subject.empty() && nobody.names.empty() && nobody.fingerprint.empty()));
  }
}
