#include "daemon/acme/on_demand_names.hpp"

#include <catch2/catch.hpp>
#include <ctime>
#include <string>

#include "core/tls/certificate_loader.hpp"
#include "tests/support/certificates.hpp"

using namespace fiberd;
using namespace fiberd::daemon::acme;

namespace {

std::shared_ptr<const tls::Certificate> one_of(const std::string& name) {
  static const test::TestAuthority root;
  const test::MadePair pair = root.issue({.names = {name}});
  tls::CertificateLoader loader;
  tls::CertificateFlaw why;
  auto loaded = loader.parse({"c", "k"}, pair.certificate, pair.key, {}, std::time(nullptr), why);
  REQUIRE(loaded);
  return *loaded;
}

OnDemandNames::Wake a_wake() { return std::make_shared<sync::Channel<char>>(1); }

}  // namespace

TEST_CASE("names on demand are host names of the Internet and nothing else", "[acme]") {
  CHECK(plain_host_name("WWW.Example.org.") == "www.example.org");
  CHECK(plain_host_name("a.b") == "a.b");
  for (const std::string& name :
       {std::string(), std::string("localhost"), std::string("192.0.2.1"), std::string("a.b.1"), std::string("[::1]"),
        std::string("*.example.org"), std::string("a_b.example.org"), std::string("-a.example.org"),
        std::string("a..b"), std::string(".a.b"), std::string("a.b.."), std::string("../etc.x"),
        std::string("a.b\nc.d"), std::string("."), std::string("a b.c"), std::string(64, 'a') + ".org",
        std::string("a.\0b", 4), std::string(250, 'a') + ".bcd"})
    CHECK(plain_host_name(name).empty());
}

TEST_CASE("a name that handshakes want is wanted once, and shown when it is there", "[acme]") {
  OnDemandNames names(a_wake());
  const std::int64_t now = std::time(nullptr);
  CHECK_FALSE(names.next());
  CHECK(names.find("a.test") == nullptr);
  CHECK(names.find("A.test.") == nullptr);
  CHECK(names.find("not a name") == nullptr);
  CHECK(names.next() == "a.test");
  CHECK_FALSE(names.next());
  CHECK(names.find("a.test") == nullptr);  // it is being looked for
  CHECK_FALSE(names.next());
  const auto certificate = one_of("a.test");
  names.show("a.test", certificate, now + 3600);
  CHECK(names.find("a.TEST") == certificate);
  CHECK_FALSE(names.next());
  // One that is due is wanted, and goes on meanwhile.
  names.show("a.test", certificate, now);
  CHECK(names.find("a.test") == certificate);
  CHECK(names.next() == "a.test");
  names.refuse("a.test", now + 3600);
  CHECK(names.find("a.test") == nullptr);
  CHECK_FALSE(names.next());
  names.refuse("a.test", now);
  CHECK(names.find("a.test") == nullptr);
  CHECK(names.next() == "a.test");
}

TEST_CASE("a flood of names drives out nothing that is shown, and is bounded", "[acme]") {
  metric::Registry registry;
  metric::Counter& dropped = registry.counter(registry.family({.name = "dropped_total", .help = "x"}));
  OnDemandNames names(a_wake());
  names.use(2, &dropped);
  const std::int64_t now = std::time(nullptr);
  const auto a = one_of("a.test");
  names.show("a.test", a, now + 3600);
  for (std::size_t i = 0; i < 10'000; ++i) {
    const std::string name = "n" + std::to_string(i) + ".test";
    CHECK(names.find(name) == nullptr);
    if (i % 2 != 0) continue;
    if (const auto next = names.next()) names.refuse(*next, now + 3600);
  }
  CHECK(dropped.value() > 4000);
  std::size_t queued = 0;
  while (names.next()) ++queued;
  CHECK(queued <= OnDemandNames::kMostQueued);
  CHECK(names.find("a.test") == a);
  // Of more than may be kept the one goes that nobody has asked for.
  names.show("b.test", one_of("b.test"), now + 3600);
  CHECK(names.find("a.test") == a);
  names.show("c.test", one_of("c.test"), now + 3600);
  CHECK(names.find("a.test") == a);
  CHECK(names.find("b.test") == nullptr);
  CHECK(names.next() == "b.test");  // it is read again
}
