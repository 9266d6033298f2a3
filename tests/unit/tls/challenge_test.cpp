// tls-alpn-01 (RFC 8737): who looks at a challenge, and nobody else, is shown it.
#include <openssl/ssl.h>

#include <catch2/catch.hpp>
#include <ctime>
#include <string>

#include "core/tls/certificate_loader.hpp"
#include "core/tls/jose.hpp"
#include "core/tls/made_certificate.hpp"
#include "core/tls/server_context.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/tls_handshake.hpp"
#include "tests/unit/tls/support.hpp"

using namespace fiberd;
using namespace tls_test;

namespace {

std::shared_ptr<const tls::Certificate> parsed(const std::string& certificate, const std::string& key) {
  tls::CertificateLoader loader;
  tls::CertificateFlaw why;
  auto made = loader.parse({"certificate", "key"}, certificate, key, {}, std::time(nullptr), why);
  INFO(why.text);
  REQUIRE(made);
  return *made;
}

class OneChallenge final : public tls::ChallengeSource {
 public:
  OneChallenge() {
    const auto key = tls::PrivateKey::make();
    REQUIRE(key);
    const std::vector<std::string> names{"proved.test"};
    const std::string digest = tls::sha256("token.thumbprint").value();
    pem = tls::make_self_signed(*key, {names, std::time(nullptr) - 60, std::time(nullptr) + 3600, digest}).value();
    certificate_ = parsed(pem, key->to_pem().value());
  }
  std::shared_ptr<const tls::Certificate> challenge(std::string_view name) const noexcept override {
    return name == "proved.test" ? certificate_ : nullptr;
  }
  std::string pem;

 private:
  std::shared_ptr<const tls::Certificate> certificate_;
};

void on_fiber(fiberd::UniqueFunction body) { start(2)->run(std::move(body)); }

}  // namespace

TEST_CASE("who offers acme-tls/1 alone is shown the challenge of its name", "[tls][acme]") {
  const auto challenges = std::make_shared<const OneChallenge>();
  for (const bool strict : {false, true}) {
    std::string why;
    const auto server =
        tls::ServerContext::make({.certificates = {parsed(fiberd::test::kTestCertificate, fiberd::test::kTestKey)},
                                  .alpn = {"http/1.1"},
                                  .strict_sni = strict,
                                  .challenges = challenges},
                                 why);
    REQUIRE(server);
    std::error_code of_server;
    const auto shake = [&](const std::string& name, std::vector<std::string> protocols, const std::string& believed,
                           bool verify = true) {
      std::string outcome;
      on_fiber([&] {
        Contexts contexts;
        contexts.server = *server;
        contexts.client =
            *tls::ClientContext::make({.ca = believed, .protocols = std::move(protocols), .verify = verify});
        const TlsPair pair(contexts, name);
        of_server = pair.of_server;
        outcome = pair.of_client ? "refused" : std::string(pair.client->application_protocol());
      });
      return outcome;
    };
    // Its extension is critical, and means nothing to other clients: these refuse it.
    CHECK(shake("proved.test", {"acme-tls/1"}, challenges->pem, false) == "acme-tls/1");
    CHECK(shake("proved.test", {"acme-tls/1"}, challenges->pem) == "refused");
    // Another name has none; and who offers more, or something else, is a client like others.
    CHECK(shake("localhost", {"acme-tls/1"}, fiberd::test::kTestCa, false) == "refused");
    CHECK(of_server == tls::errc::server_name);  // as it is counted
    CHECK(shake("localhost", {"acme-tls/1", "http/1.1"}, fiberd::test::kTestCa) == "http/1.1");
    CHECK(shake("localhost", {"http/1.1"}, fiberd::test::kTestCa) == "http/1.1");
    CHECK(shake("proved.test", {"http/1.1"}, challenges->pem) == "refused");
  }
  // Where there are no challenges it is a protocol that nobody speaks.
  std::error_code refused;
  on_fiber([&] {
    const TlsPair pair(Contexts({.protocols = {"http/1.1"}}, {.protocols = {"acme-tls/1"}}));
    refused = pair.of_client;
  });
  CHECK(refused);
}

TEST_CASE("an authority sees a challenge where clients need a certificate, and nobody gets in by that",
          "[tls][acme][mtls]") {
  const auto challenges = std::make_shared<const OneChallenge>();
  const test::TestAuthority clients("clients");
  const test::TemporaryDirectory files;
  std::string why;
  bool of_crl = false;
  const auto server =
      tls::ServerContext::make({.certificates = {parsed(fiberd::test::kTestCertificate, fiberd::test::kTestKey)},
                                .alpn = {"http/1.1"},
                                .client_auth = tls::ClientAuth::load({files.write("ca.pem", clients.certificate())},
                                                                     tls::ClientAuthMode::require, why, of_crl)
                                                   .value(),
                                .tickets = tls::TicketKeys::random().value(),
                                .challenges = challenges},
                               why)
          .value();
  const auto meet = [&](const test::TlsWishes& wishes) {
    const tls::SslHandle session = server->new_session();
    return test::shake_hands(*session, wishes);
  };
  for (const int most : {0x0303, 0x0304}) {
    INFO(most);
    const test::TlsOutcome seen = meet({.server_name = "proved.test", .most = most, .alpn = {"acme-tls/1"}});
    CHECK(seen.done);
    CHECK(seen.server_error == "");
    CHECK(seen.alpn == "acme-tls/1");
    CHECK_FALSE(meet({.server_name = "proved.test", .most = most, .alpn = {"http/1.1"}}).server_error.empty());
    CHECK_FALSE(meet({.server_name = "localhost", .most = most, .alpn = {"acme-tls/1"}}).server_error.empty());
    // What was begun so is resumed by nobody.
    if (seen.session != nullptr) {
      const test::TlsOutcome out =
          meet({.server_name = "proved.test", .most = most, .alpn = {"http/1.1"}, .session = seen.session.get()});
      CHECK_FALSE(out.resumed);
      CHECK_FALSE(out.server_error.empty());
    }
  }
}

TEST_CASE("a second hello that offers something else than the first ends the handshake", "[tls][acme]") {
  std::string why;
  const auto server =
      tls::ServerContext::make({.certificates = {parsed(fiberd::test::kTestCertificate, fiberd::test::kTestKey)},
                                .alpn = {"http/1.1"},
                                .challenges = std::make_shared<const OneChallenge>()},
                               why)
          .value();
  for (const bool changes : {false, true}) {
    std::error_code ended;
    std::string protocol;
    on_fiber([&] {
      Contexts contexts;
      contexts.server = server;
      contexts.client =
          *tls::ClientContext::make({.ca = fiberd::test::kTestCa, .protocols = {"acme-tls/1"}, .verify = false});
      Pair pair;
      TlsStream first = server_over(contexts, std::move(pair.a));
      TlsStream second = client_over(contexts, std::move(pair.b), "proved.test");
      SSL* const ssl = second->session();
      // Its key is on a curve that the server does not have: it is asked for another.
      SSL_set1_groups_list(ssl, "P-521:P-256");
      if (changes)
        SSL_set_msg_callback(ssl, [](int sent, int, int type, const void*, std::size_t, SSL* of, void*) {
          if (sent == 0 && type == SSL3_RT_HANDSHAKE) (void)SSL_set_alpn_protos(of, nullptr, 0);
        });
      const TlsPair shaken(std::move(first), std::move(second));
      ended = shaken.of_server;
      protocol = shaken.server->application_protocol();
    });
    INFO(ended.message());
    CHECK(ended == (changes ? make_error_code(tls::errc::malformed) : std::error_code()));  // as it is counted
    CHECK(protocol == (changes ? "" : "acme-tls/1"));
  }
}
