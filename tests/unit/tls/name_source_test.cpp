// Names that no table has, from a source beside it.
#include "core/tls/name_source.hpp"

#include <catch2/catch.hpp>
#include <ctime>
#include <mutex>
#include <set>
#include <string>

#include "core/tls/certificate_loader.hpp"
#include "core/tls/server_context.hpp"
#include "tests/support/certificates.hpp"
#include "tests/unit/tls/support.hpp"

using namespace fiberd;
using namespace tls_test;

namespace {

const fiberd::test::TestAuthority& name_root() {
  static const fiberd::test::TestAuthority root;
  return root;
}

std::shared_ptr<const tls::Certificate> certificate_of(const std::string& name) {
  const fiberd::test::MadePair pair = name_root().issue({.names = {name}});
  tls::CertificateLoader loader;
  tls::CertificateFlaw why;
  auto made = loader.parse({"certificate", "key"}, pair.certificate, pair.key, {}, std::time(nullptr), why);
  REQUIRE(made);
  return *made;
}

class OneName final : public tls::NameSource {
 public:
  std::shared_ptr<const tls::Certificate> find(std::string_view name) noexcept override {
    const std::lock_guard guard(mutex_);
    asked.emplace(name);
    return name == "come.test" ? certificate_ : nullptr;
  }
  std::set<std::string> asked;

 private:
  std::mutex mutex_;
  const std::shared_ptr<const tls::Certificate> certificate_ = certificate_of("come.test");
};

}  // namespace

TEST_CASE("a name that no certificate has may come from a source", "[tls][acme]") {
  for (const bool strict : {false, true}) {
    const auto source = std::make_shared<OneName>();
    std::string why;
    const auto server = tls::ServerContext::make(
        {.certificates = {certificate_of("there.test")}, .strict_sni = strict, .names = source}, why);
    REQUIRE(server);
    const auto shake = [&](const std::string& name, bool verify) {
      bool good = false;
      start(2)->run([&] {
        Contexts contexts;
        contexts.server = *server;
        contexts.client =
            *tls::ClientContext::make({.ca = name_root().certificate(), .protocols = {}, .verify = verify});
        const TlsPair pair(contexts, name);
        good = !pair.of_client;
      });
      return good;
    };
    CHECK(shake("there.test", true));
    CHECK(source->asked.empty());  // those that are there are nobody's question
    CHECK(shake("come.test", true));
    CHECK(source->asked.count("come.test") == 1);
    // One that is not there is as it would be without.
    CHECK(shake("gone.test", false) == !strict);
    CHECK_FALSE(shake("gone.test", true));
    CHECK(source->asked.count("gone.test") == 1);
    CHECK(shake("come.test", true));
  }
}
