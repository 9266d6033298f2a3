// Files of certificates that change while they are served: what is right is taken over, what is wrong is said once.
#include "daemon/services/tls_keeper.hpp"

#include <catch2/catch.hpp>
#include <filesystem>
#include <string>

#include "daemon/provision.hpp"
#include "tests/support/certificates.hpp"
#include "tests/support/daemon.hpp"
#include "tests/support/kept_log.hpp"
#include "tests/support/tls_handshake.hpp"

using namespace fiberd;
using namespace fiberd::daemon;
using Catch::Matchers::Contains;

namespace {

const test::TestAuthority& authority() {
  static const test::TestAuthority one;
  return one;
}

struct Site {
  explicit Site(const std::string& more = "") {
    write("a", authority().issue({.names = {"a.example.org"}, .until = 100 * 86'400}));
    write("b", authority().issue({.names = {"b.example.org"}}));
    const std::string pair = "{certificate: " + files.path() + "/a.pem, key: " + files.path() + "/a.key}";
    const std::string other = "{certificate: " + files.path() + "/b.pem, key: " + files.path() + "/b.key}";
    config::Outcome outcome =
        config::load_text("listeners: [{name: web, address: \"127.0.0.1:0\", tls: {certificates: [" + pair + ", " +
                              other + "]" + more + "}, http: {routes: [{path: /, echo: {}}]}}]\n",
                          "f.yaml");
    for (const config::Diagnostic& d : outcome.diagnostics) throw std::runtime_error(d.to_string());
    config = std::move(outcome.config);
  }
  void write(const std::string& name, const test::MadePair& pair) const {
    // As a file that is moved there: with an inode of its own.
    for (const auto& [end, text] : {std::pair(".pem", pair.certificate), std::pair(".key", pair.key)}) {
      const std::string fresh = files.write(name + end + ".new", text);
      std::filesystem::permissions(fresh, std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
      std::filesystem::rename(fresh, files.path() + "/" + name + end);
    }
  }
  [[nodiscard]] std::shared_ptr<const TlsParts> read(const TlsParts* before = nullptr) const {
    tls::CertificateLoader loader;
    std::vector<Flaw> flaws;
    auto parts = std::make_shared<const TlsParts>(
        read_tls_parts(*config.listeners[0].tls, alpn_of(config.listeners[0]), before, loader, flaws));
    for (const Flaw& flaw : flaws) throw std::runtime_error(flaw.diagnostic.to_string());
    return parts;
  }
  const test::TemporaryDirectory files;
  config::Config config;
};

std::size_t told(const std::string& what) {
  const std::string log = test::KeptLog::text();
  std::size_t count = 0;
  for (std::size_t at = log.find(what); at != std::string::npos; at = log.find(what, at + 1)) ++count;
  return count;
}

std::string shown(const TlsKeeper& keeper, const std::string& name) {
  const tls::SslHandle session = keeper.current()->get()->new_session();
  return test::shake_hands(*session, {.server_name = name}).names;
}

double value_of(const metric::Registry& registry, const std::string& family, const std::vector<std::string>& labels) {
  for (const metric::FamilySnapshot& f : registry.snapshot())
    if (f.spec.name == family)
      for (const metric::Sample& sample : f.samples)
        if (sample.labels == labels) return sample.value;
  return -1;
}

}  // namespace

TEST_CASE("a certificate that is put in the place of another is shown from then on", "[tls][keeper]") {
  const Site site;
  metric::Registry registry;
  TlsKeeper keeper(site.config.listeners[0], site.read(), registry);
  CHECK(shown(keeper, "a.example.org") == "a.example.org");
  const std::vector<std::string> label{"web", site.files.path() + "/a.pem"};
  const double end = value_of(registry, "fiberd_tls_certificate_not_after_seconds", label);
  CHECK(end == static_cast<double>(keeper.parts()->pairs[0].certificate->not_after()));
  const auto context = keeper.current()->get();
  const auto other = keeper.parts()->pairs[1].certificate;
  (void)keeper.look();
  CHECK(keeper.current()->get() == context);  // nothing has changed
  site.write("a", authority().issue({.names = {"a.example.org", "new.example.org"}, .until = 10 * 86'400}));
  (void)keeper.look();
  CHECK(keeper.current()->get() != context);
  CHECK(shown(keeper, "new.example.org") == "a.example.org,new.example.org");
  CHECK(shown(keeper, "b.example.org") == "b.example.org");
  CHECK(keeper.parts()->pairs[1].certificate == other);  // not read again
  CHECK(keeper.parts()->read == 1);
  CHECK(value_of(registry, "fiberd_tls_certificate_not_after_seconds", label) < end);
  CHECK(value_of(registry, "fiberd_tls_certificate_reloads_total", {"success"}) == 1);
  CHECK(value_of(registry, "fiberd_tls_certificate_reloads_total", {"failure"}) == 0);
  const std::vector<TlsKeeper::Shown> ends = keeper.shown(5);
  REQUIRE(ends.size() == 2);
  CHECK(ends[0].file == site.files.path() + "/a.pem");  // the one that ends first
  CHECK(ends[0].names == "a.example.org, new.example.org");
}

TEST_CASE("a pair that is wrong leaves the one before, and is told once", "[tls][keeper]") {
  const Site site;
  metric::Registry registry;
  TlsKeeper keeper(site.config.listeners[0], site.read(), registry);
  const test::KeptLog kept;
  const test::MadePair next = authority().issue({.names = {"next.example.org"}});
  const test::MadePair before{test::read_file(site.files.path() + "/a.pem"),
                              test::read_file(site.files.path() + "/a.key")};
  site.write("a", {next.certificate, before.key});
  for (int i = 0; i < 3; ++i) CHECK_FALSE(keeper.look());
  CHECK(shown(keeper, "a.example.org") == "a.example.org");
  CHECK(value_of(registry, "fiberd_tls_certificate_reloads_total", {"failure"}) == 1);
  CHECK(told("is the key of another certificate than " + site.files.path() + "/a.pem") == 1);
  CHECK(told("listeners[0].tls.certificates[0].key") == 1);
  // The other half comes.
  site.write("a", next);
  (void)keeper.look();
  CHECK(shown(keeper, "next.example.org") == "next.example.org");
  CHECK(value_of(registry, "fiberd_tls_certificate_reloads_total", {"success"}) == 1);
  // Gone, ended, and back as it was.
  std::filesystem::remove(site.files.path() + "/a.key");
  (void)keeper.look();
  CHECK(told("a.key: ") >= 1);
  site.write("a", authority().issue({.names = {"old.example.org"}, .from = -7200, .until = -3600}));
  (void)keeper.look();
  CHECK(told("the certificate has ended at ") == 1);
  CHECK(shown(keeper, "next.example.org") == "next.example.org");
  site.write("a", next);
  (void)keeper.look();
  CHECK(told("its files are right again, and as before") == 1);
  CHECK(value_of(registry, "fiberd_tls_certificate_reloads_total", {"failure"}) == 3);
  CHECK(value_of(registry, "fiberd_tls_certificate_reloads_total", {"success"}) == 1);
}

TEST_CASE("what a reload reads anew is what it was where nothing has changed", "[tls][keeper]") {
  const Site site;
  const auto first = site.read();
  const auto again = site.read(first.get());
  CHECK(again->context == first->context);
  CHECK_FALSE(again->changed);
  CHECK(again->tickets == first->tickets);  // sessions go on
  CHECK(site.read()->tickets != first->tickets);
}

TEST_CASE("check says what is wrong with TLS's files at their keys, all of it, and warns of what ends soon",
          "[tls][provision]") {
  const test::TemporaryDirectory files;
  const test::MadePair pair =
      authority().issue({.names = {"a.example.org"}, .from = -80 * 86'400, .until = 9 * 86'400 + 3600});
  const std::string certificate = files.write("a.pem", pair.certificate);
  const std::string key = files.write("a.key", pair.key);
  const auto said = [&](const std::string& tls) {
    config::Outcome outcome =
        config::load_text("admin: {address: off}\nlisteners: [{name: w, address: \"127.0.0.1:0\", tls: {" + tls +
                              "}, http: {routes: [{path: /, echo: {}}]}}]\n",
                          "f.yaml");
    std::vector<std::string> warnings;
    std::string all;
    for (Flaw& flaw : provision(outcome, Handlers(), nullptr, {}, &warnings))
      outcome.diagnostics.push_back(std::move(flaw.diagnostic));
    for (const config::Diagnostic& d : outcome.diagnostics) all += d.to_string() + "\n";
    for (const std::string& warning : warnings) all += "warning: " + warning + "\n";
    return all;
  };
  std::filesystem::permissions(key, std::filesystem::perms(0644));
  const std::string good = said("certificate: " + certificate + ", key: " + key);
  CHECK_THAT(good, Contains("warning: " + certificate + ": ends at ") && Contains(", in 9 days: renew it"));
  CHECK_THAT(good, Contains("warning: the private key in " + key + " can be read by everybody: chmod o-r"));
  const std::string bad = said("certificates: [{certificate: " + certificate + ", key: " + files.path() +
                               "/none}, {certificate: " + files.path() + "/none2, key: " + key +
                               "}], client_auth: {ca: " + key + "}, ticket_keys: [" + key + "]");
  CHECK_THAT(bad, Contains("listeners[0].tls.certificates[0].key: " + files.path() + "/none: "));
  CHECK_THAT(bad, Contains("listeners[0].tls.certificates[1].certificate: " + files.path() + "/none2: "));
  CHECK_THAT(bad, Contains("listeners[0].tls.client_auth.ca: " + key + ": has no certificate in PEM"));
  CHECK_THAT(bad, Contains("listeners[0].tls.ticket_keys: " + key + ": a ticket key has 80 bytes"));
}
