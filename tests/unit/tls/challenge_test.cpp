// tls-alpn-01 (RFC 8737): who looks at a challenge, and nobody else, is shown it.
#include <catch2/catch.hpp>
#include <ctime>
#include <string>

#include "core/tls/certificate_loader.hpp"
#include "core/tls/jose.hpp"
#include "core/tls/made_certificate.hpp"
#include "core/tls/server_context.hpp"
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
    const auto shake = [&](const std::string& name, std::vector<std::string> protocols, const std::string& believed,
                           bool verify = true) {
      std::string outcome;
      on_fiber([&] {
        Contexts contexts;
        contexts.server = *server;
        contexts.client =
            *tls::ClientContext::make({.ca = believed, .protocols = std::move(protocols), .verify = verify});
        const TlsPair pair(contexts, name);
        outcome = pair.of_client ? "refused" : std::string(pair.client->application_protocol());
      });
      return outcome;
    };
    // Its extension is critical, and means nothing to other clients: these refuse it.
    CHECK(shake("proved.test", {"acme-tls/1"}, challenges->pem, false) == "acme-tls/1");
    CHECK(shake("proved.test", {"acme-tls/1"}, challenges->pem) == "refused");
    // Another name has none; and who offers more, or something else, is a client like others.
    CHECK(shake("localhost", {"acme-tls/1"}, fiberd::test::kTestCa, false) == "refused");
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
