#include "core/tls/certificate_loader.hpp"

#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <string>

#include "core/tls/certificate_table.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"

using namespace fiberd;
using Catch::Matchers::Contains;

namespace {

const test::TestAuthority& authority() {
  static const test::TestAuthority one;
  return one;
}

std::int64_t present() { return static_cast<std::int64_t>(std::time(nullptr)); }

struct Tried {
  std::shared_ptr<const tls::Certificate> certificate;
  tls::CertificateFlaw why;
  std::error_code error;
};

Tried parse(const std::string& certificate, const std::string& key, const std::string& ocsp = {}) {
  tls::CertificateLoader loader;
  Tried tried;
  const tls::CertificateFiles files{"web.pem", "web.key", ocsp.empty() ? "" : "web.ocsp"};
  auto made = loader.parse(files, certificate, key, ocsp, present(), tried.why);
  tried.error = error_of(made);
  tried.certificate = std::move(made).value_or(nullptr);
  return tried;
}

}  // namespace

TEST_CASE("a certificate says its names, its end and its key", "[tls][certificate]") {
  const auto issuer = authority().below("fiberd test issuer", 30 * 86'400);
  const test::MadePair pair = issuer->issue({.names = {"Www.Example.org", "*.example.org"}});
  const Tried tried = parse(pair.certificate, pair.key);
  INFO(tried.why.text);
  REQUIRE(tried.certificate != nullptr);
  const tls::Certificate& c = *tried.certificate;
  CHECK(c.names() == std::vector<std::string>{"www.example.org", "*.example.org"});
  CHECK(c.key_kind() == tls::KeyKind::ecdsa);
  CHECK(c.fingerprint().size() == 64);
  // The chain's end is the end.
  CHECK(c.not_after() < present() + 31 * 86'400);
  CHECK(c.not_after() > present() + 29 * 86'400);
  CHECK(c.leaf() != nullptr);
  CHECK(c.leaf() == c.leaf());
  CHECK(parse(pair.certificate + pair.key, pair.key + pair.certificate).certificate != nullptr);
}

TEST_CASE("keys of each kind are read", "[tls][certificate]") {
  for (const auto& [key, kind] :
       {std::pair(test::TestKey::rsa, tls::KeyKind::rsa), std::pair(test::TestKey::ed25519, tls::KeyKind::ed25519)}) {
    const test::MadePair pair = authority().issue({.names = {"a.example.org"}, .key = key});
    const Tried tried = parse(pair.certificate, pair.key);
    INFO(tried.why.text);
    REQUIRE(tried.certificate != nullptr);
    CHECK(tried.certificate->key_kind() == kind);
  }
}

TEST_CASE("what is wrong with a certificate names the file and the remedy", "[tls][certificate]") {
  const test::MadePair pair = authority().issue({.names = {"a.example.org"}});
  const test::MadePair other = authority().issue({.names = {"a.example.org"}});
  using Part = tls::CertificatePart;
  const auto refused = [](const Tried& tried, Part part, const std::string& text) {
    INFO(tried.why.text);
    CHECK(tried.certificate == nullptr);
    CHECK(tried.why.part == part);
    CHECK_THAT(tried.why.text, Catch::StartsWith(part == Part::key ? "web.key: " : "web.pem: "));
    CHECK_THAT(tried.why.text, Contains(text));
  };
  refused(parse(pair.certificate, other.key), Part::key, "is the key of another certificate than web.pem");
  refused(parse("", pair.key), Part::certificate, "is empty");
  refused(parse("no PEM", pair.key), Part::certificate, "has no certificate in PEM");
  refused(parse(pair.certificate, ""), Part::key, "is empty");
  refused(parse(pair.certificate, pair.certificate), Part::key, "has no private key");
  refused(parse(pair.certificate, test::encrypted_key(pair.key)), Part::key, "is encrypted");
  refused(parse(pair.certificate.substr(0, pair.certificate.size() / 2), pair.key), Part::certificate, "damaged");
  refused(parse("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", pair.key), Part::certificate,
          "damaged");
  refused(parse(pair.certificate, "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"), Part::key,
          "damaged");
  const test::MadePair old = authority().issue({.names = {"a.example.org"}, .from = -7200, .until = -3600});
  const Tried ended = parse(old.certificate, old.key);
  refused(ended, Part::certificate, "the certificate has ended at ");
  CHECK(ended.error == std::errc::timed_out);
  const auto old_issuer = authority().below("old", -3600);
  const test::MadePair below_old = old_issuer->issue({.names = {"a.example.org"}});
  refused(parse(below_old.certificate, below_old.key), Part::certificate, "certificate 2 of the chain has ended");
  refused(parse(pair.certificate + other.certificate, pair.key), Part::certificate, "put the chain in order");
  const test::MadePair weak =
      authority().issue({.names = {"a.example.org"}, .key = test::TestKey::rsa, .rsa_bits = 1024});
  refused(parse(weak.certificate, weak.key), Part::key, "1024 bits");
}

TEST_CASE("an OCSP response is of its certificate, and sent until it is over", "[tls][certificate]") {
  const test::MadePair pair = authority().issue({.names = {"a.example.org"}});
  const test::MadePair other = authority().issue({.names = {"b.example.org"}});
  const Tried good = parse(pair.certificate, pair.key, authority().vouch(pair.certificate, 600));
  REQUIRE(good.certificate != nullptr);
  CHECK(!good.certificate->staple(present()).empty());
  CHECK(good.certificate->staple(present() + 700).empty());
  CHECK_THAT(parse(pair.certificate, pair.key, authority().vouch(other.certificate)).why.text,
             Catch::Equals("web.ocsp: says nothing of web.pem"));
  CHECK_THAT(parse(pair.certificate, pair.key, "garbage").why.text, Contains("no OCSP response"));
}

TEST_CASE("files that hold the same are the certificate before, even when it has ended", "[tls][certificate]") {
  const test::TemporaryDirectory tree;
  const test::MadePair pair = authority().issue({.names = {"a.example.org"}, .until = 1000});
  const tls::CertificateFiles files{tree.write("a.pem", pair.certificate), tree.write("a.key", pair.key)};
  tls::CertificateLoader loader;
  tls::CertificateFlaw why;
  const auto first = loader.load(files, present(), why);
  INFO(why.text);
  REQUIRE(first);
  CHECK(loader.load(files, present() + 2000, why, *first).value() == *first);
  CHECK(loader.load(files, present() + 2000, why).error() == std::errc::timed_out);
  CHECK(loader.load(files, present(), why).value() != *first);
  CHECK(loader.load({files.certificate, tree.path() + "/none.key"}, present(), why).error() ==
        std::errc::no_such_file_or_directory);
  CHECK_THAT(why.text, Contains("none.key: "));
}

TEST_CASE("one that ends soon, and a key that others can read, are warned of", "[tls][certificate]") {
  const test::TemporaryDirectory tree;
  const auto warned = [&](const test::CertificateWishes& wishes, ::mode_t mode) {
    const test::MadePair pair = authority().issue(wishes);
    const tls::CertificateFiles files{tree.write("a.pem", pair.certificate), tree.write("a.key", pair.key)};
    REQUIRE(::chmod(files.key.c_str(), mode) == 0);
    tls::CertificateLoader loader;
    tls::CertificateFlaw why;
    std::string all;
    for (const std::string& one : tls::warn_of(**loader.load(files, present(), why), files, present()))
      all += one + "\n";
    return all;
  };
  CHECK(warned({.names = {"a.example.org"}}, 0640) == "");
  CHECK_THAT(warned({.names = {"a.example.org"}}, 0644), Contains("can be read by everybody: chmod o-r"));
  CHECK_THAT(warned({.names = {"a.example.org"}, .from = -90 * 86'400, .until = 20 * 86'400 + 3600}, 0600),
             Contains("in 20 days: renew it"));
  CHECK(warned({.names = {"a.example.org"}, .from = -10, .until = 6 * 86'400}, 0600) == "");  // six days is its life
  CHECK_THAT(warned({.names = {}}, 0600), Contains("has no DNS name"));
  CHECK_THAT(warned({.names = {"a.example.org"}, .from = 7200}, 0600), Contains("is not good before"));
}

TEST_CASE("a name finds its certificates, exactly and then by its wildcard", "[tls][certificate]") {
  tls::CertificateTable::List all;
  const auto add = [&](const std::vector<std::string>& names, test::TestKey key) {
    const test::MadePair pair = authority().issue({.names = names, .key = key});
    all.push_back(parse(pair.certificate, pair.key).certificate);
    REQUIRE(all.back() != nullptr);
    return all.back().get();
  };
  using List = std::vector<const tls::Certificate*>;
  const auto* const a = add({"a.example.org"}, test::TestKey::ecdsa);
  const auto* const wild = add({"*.example.org"}, test::TestKey::ecdsa);
  const auto* const a_rsa = add({"a.example.org"}, test::TestKey::rsa);
  (void)add({"a.example.org"}, test::TestKey::ecdsa);  // the first is shown
  const tls::CertificateTable table(all);
  const auto found = [&](std::string_view name) {
    const tls::CertificateChoice* const choice = table.find(name);
    return choice == nullptr ? List{} : List(choice->all().begin(), choice->all().end());
  };
  CHECK(found("a.example.org") == List{a, a_rsa});
  CHECK(found("A.EXAMPLE.org.") == List{a, a_rsa});
  CHECK(found("b.example.org") == List{wild});
  CHECK(found("b.c.example.org") == List{});
  CHECK(found("example.org") == List{});
  CHECK(found(".example.org") == List{});
  CHECK(found("") == List{});
  CHECK(found(std::string(300, 'a') + ".example.org") == List{});
  CHECK(found(std::string("b\0.example.org", 14)) == List{wild});  // OpenSSL lets none of those through
  const auto standing = table.by_default().all();
  CHECK(List(standing.begin(), standing.end()) == List{a, a_rsa});
}
