// The client of certificate authorities against pebble: both challenges, refused nonces, accounts that are bound, or
// gone, a hook program.
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <sys/stat.h>

#include <catch2/catch.hpp>
#include <ctime>
#include <functional>
#include <string>

#include "core/tls/certificate_facts.hpp"
#include "core/tls/jose.hpp"
#include "daemon/acme/challenges.hpp"
#include "daemon/acme/hook_program.hpp"
#include "daemon/acme/order.hpp"
#include "daemon/acme/renewer.hpp"
#include "tests/support/client_fixture.hpp"
#include "tests/support/hostile_upstream.hpp"
#include "tests/support/pebble.hpp"

using namespace fiberd;
using namespace fiberd::test;
using namespace fiberd::daemon;
using namespace std::chrono_literals;

namespace {

#define FIBERD_NEEDS_PEBBLE()                                                               \
  if (!Pebble::is_there()) {                                                                \
    WARN("skipped: pebble and pebble-challtestsrv are not there (apt-get install pebble)"); \
    return;                                                                                 \
  }

/// What answers http-01 for the tests: a server of threads, for what is on the board.
HostileUpstream::Script shows(const acme::Challenges& board) {
  return [&board](UpstreamPeer& peer) {
    const std::optional<std::string> head = peer.read_head();
    if (!head) return;
    const std::size_t at = head->find(acme::kWellKnown);
    const std::size_t from = at == std::string::npos ? 0 : at + acme::kWellKnown.size();
    const std::string answer = board.http(head->substr(from, head->find(' ', from) - from)).value_or("none");
    peer.send("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: " + std::to_string(answer.size()) + "\r\n\r\n" +
              answer);
  };
}

int choose_acme(SSL* /*ssl*/, const unsigned char** out, unsigned char* size, const unsigned char* in, unsigned n,
                void* /*argument*/) {
  static const unsigned char kOurs[] =
      "\x0a"
      "acme-tls/1";
  return SSL_select_next_proto(const_cast<unsigned char**>(out), size, kOurs, sizeof kOurs - 1, in, n) ==
                 OPENSSL_NPN_NEGOTIATED
             ? SSL_TLSEXT_ERR_OK
             : SSL_TLSEXT_ERR_ALERT_FATAL;
}

int put_certificate(SSL* ssl, void* board) {
  const char* const name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
  const auto pair = static_cast<const acme::Challenges*>(board)->tls(name != nullptr ? name : "");
  if (!pair) return 0;
  BIO* const certificate = BIO_new_mem_buf(pair->certificate.data(), static_cast<int>(pair->certificate.size()));
  BIO* const key = BIO_new_mem_buf(pair->key.data(), static_cast<int>(pair->key.size()));
  X509* const leaf = PEM_read_bio_X509(certificate, nullptr, nullptr, nullptr);
  EVP_PKEY* const secret = PEM_read_bio_PrivateKey(key, nullptr, nullptr, nullptr);
  const bool used = SSL_use_certificate(ssl, leaf) == 1 && SSL_use_PrivateKey(ssl, secret) == 1;
  X509_free(leaf);
  EVP_PKEY_free(secret);
  BIO_free(certificate);
  BIO_free(key);
  return used ? 1 : 0;
}

HostileUpstream::Script proves(const acme::Challenges& board) {
  return [&board](UpstreamPeer& peer) {
    SSL_CTX* const context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_set_alpn_select_cb(context, choose_acme, nullptr);
    SSL_CTX_set_cert_cb(context, put_certificate, const_cast<acme::Challenges*>(&board));
    SSL* const ssl = SSL_new(context);
    SSL_set_fd(ssl, peer.fd());
    (void)SSL_accept(ssl);
    (void)peer.wait_for_hang_up();
    SSL_free(ssl);
    SSL_CTX_free(context);
  };
}

/// A client that believes pebble, and an account's key of its own.
struct Rig {
  explicit Rig() : fixture({.tls = *tls::ClientContext::make({.ca = kTestCa, .protocols = {"http/1.1"}})}) {}
  /// On a fiber, with an authority that was entered or not.
  void with(const Pebble& pebble, const std::function<void(const context::Context&, acme::Authority&)>& work) {
    fixture.run([&] {
      const context::Cancelable limit = context::with_timeout(context::background(), 120s);
      acme::Authority authority(fixture.client(), pebble.directory(), key, &bad_nonces);
      work(limit.context, authority);
      limit.cancel();
    });
  }
  metric::Registry registry;
  metric::Counter& bad_nonces = registry.counter(registry.family({.name = "bad_nonces_total", .help = "x"}));
  tls::PrivateKey key = *tls::PrivateKey::make();
  ClientFixture fixture;
};

template <class T>
std::string words_of(const acme::Outcome<T>& outcome) {
  return outcome ? "" : std::string(acme::token_of(outcome.error().reason)) + ": " + outcome.error().what;
}

}  // namespace

TEST_CASE("acme: pebble issues by http-01, whatever nonces it refuses", "[integration][acme]") {
  FIBERD_NEEDS_PEBBLE();
  acme::Challenges board;
  const HostileUpstream shown({shows(board)});
  const Pebble pebble({.http_port = shown.endpoint().port(), .bad_nonces = 20});
  REQUIRE(pebble.ready());
  Rig rig;
  const std::vector<std::string> names{"one.test", "two.test"};
  // A fifth of all nonces is refused: by the second order or so there was one.
  for (int i = 0; i < 10 && (i == 0 || rig.bad_nonces.value() == 0); ++i) {
    acme::Outcome<std::string> account;
    acme::Outcome<acme::Issued> issued;
    rig.with(pebble, [&](const context::Context& ctx, acme::Authority& authority) {
      acme::OwnProver prover(board, {.http = true, .tls_alpn = false, .dns_program = {}});
      account = authority.enter(ctx, {.email = "ops@one.test"}, "");
      if (account) issued = acme::obtain(ctx, authority, {names, "", ""}, prover, 5ms);
    });
    INFO(words_of(account) << words_of(issued));
    REQUIRE(account);
    REQUIRE(issued);
    const auto facts = tls::read_certificate_facts(issued->chain);
    REQUIRE(facts);
    CHECK(facts->names == names);
    CHECK(facts->chain >= 2);
    CHECK(tls::is_certificate_of(issued->chain, *tls::PrivateKey::from_pem(issued->key)));
    CHECK_FALSE(board.any_http());
  }
  CHECK(rig.bad_nonces.value() > 0);
}

TEST_CASE("acme: pebble issues by tls-alpn-01", "[integration][acme]") {
  FIBERD_NEEDS_PEBBLE();
  acme::Challenges board;
  const HostileUpstream proving({proves(board)});
  const Pebble pebble({.tls_port = proving.endpoint().port()});
  REQUIRE(pebble.ready());
  Rig rig;
  rig.with(pebble, [&](const context::Context& ctx, acme::Authority& authority) {
    acme::OwnProver prover(board, {.http = false, .tls_alpn = true, .dns_program = {}});
    const auto account = authority.enter(ctx, {}, "");
    const auto issued = account ? acme::obtain(ctx, authority, {{"one.test"}, "", ""}, prover, 5ms)
                                : acme::Outcome<acme::Issued>(acme::give_up(account.error()));
    INFO(words_of(issued));
    CHECK(issued);
  });
}

TEST_CASE("acme: a name that cannot be proved is told with the authority's words", "[integration][acme]") {
  FIBERD_NEEDS_PEBBLE();
  acme::Challenges board;
  const HostileUpstream wrong({answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nwrong")});
  const Pebble pebble({.http_port = wrong.endpoint().port()});
  REQUIRE(pebble.ready());
  Rig rig;
  rig.with(pebble, [&](const context::Context& ctx, acme::Authority& authority) {
    acme::OwnProver prover(board, {.http = true, .tls_alpn = false, .dns_program = {}});
    REQUIRE(authority.enter(ctx, {}, ""));
    const auto issued = acme::obtain(ctx, authority, {{"one.test"}, "", ""}, prover, 5ms);
    REQUIRE_FALSE(issued);
    CHECK(issued.error().reason == acme::Reason::challenge);
    CHECK(issued.error().what.find("one.test: http-01 failed") != std::string::npos);
    // And a profile that nobody has.
    const auto none = acme::obtain(ctx, authority, {{"one.test"}, "shortlived", ""}, prover, 5ms);
    REQUIRE_FALSE(none);
    CHECK(none.error().what.find("acme.profile") != std::string::npos);
  });
  CHECK_FALSE(board.any_http());
}

TEST_CASE("acme: an account that must be bound to another one, and one that is gone", "[integration][acme]") {
  FIBERD_NEEDS_PEBBLE();
  acme::Challenges board;
  const Pebble pebble({.external_account = true});
  REQUIRE(pebble.ready());
  Rig rig;
  rig.with(pebble, [&](const context::Context& ctx, acme::Authority& authority) {
    const auto unbound = authority.enter(ctx, {}, "");
    REQUIRE_FALSE(unbound);
    CHECK(unbound.error().reason == acme::Reason::account);
    CHECK(unbound.error().what.find("acme.eab") != std::string::npos);
    const auto wrong = authority.enter(ctx, {.email = {}, .external = {std::string(Pebble::kKeyId), "guessed"}}, "");
    CHECK_FALSE(wrong);
    const auto secret = tls::from_base64url(Pebble::kSecret);
    REQUIRE(secret);
    const auto bound = authority.enter(ctx, {.email = {}, .external = {std::string(Pebble::kKeyId), *secret}}, "");
    INFO(words_of(bound));
    REQUIRE(bound);
    // The same key is the same account.
    CHECK(authority.enter(ctx, {.email = {}, .external = {std::string(Pebble::kKeyId), *secret}}, "").value() ==
          *bound);
  });
  rig.key = *tls::PrivateKey::make();
  rig.with(pebble, [&](const context::Context& ctx, acme::Authority& authority) {
    // Known from earlier, it seems; but whoever runs the authority has lost it, or closed it.
    REQUIRE(authority.enter(ctx, {}, pebble.directory().substr(0, pebble.directory().rfind('/')) + "/my-account/77"));
    acme::OwnProver prover(board, {.http = true, .tls_alpn = false, .dns_program = {}});
    const auto issued = acme::obtain(ctx, authority, {{"one.test"}, "", ""}, prover, 5ms);
    REQUIRE_FALSE(issued);
    INFO(words_of(issued));
    CHECK(issued.error().reason == acme::Reason::account);
    CHECK(issued.error().problem == "accountDoesNotExist");
  });
}

TEST_CASE("acme: dns-01 by a hook program", "[integration][acme]") {
  FIBERD_NEEDS_PEBBLE();
  acme::Challenges board;
  const Pebble pebble({});
  REQUIRE(pebble.ready());
  const TemporaryDirectory folder;
  const std::string program = folder.write("hook", "#!/bin/sh\necho \"$@\" >> " + folder.path() +
                                                       "/calls\n[ $1 = present ] || exit 0\ncurl -sS --data "
                                                       "'{\"host\":\"'$2'.\",\"value\":\"'$3'\"}' " +
                                                       pebble.management() + "/set-txt\n");
  REQUIRE(::chmod(program.c_str(), 0700) == 0);
  Rig rig;
  rig.with(pebble, [&](const context::Context& ctx, acme::Authority& authority) {
    REQUIRE(authority.enter(ctx, {}, ""));
    acme::OwnProver prover(board, {.http = false, .tls_alpn = false, .dns_program = program});
    const auto issued = acme::obtain(ctx, authority, {{"*.wild.test"}, "", ""}, prover, 5ms);
    INFO(words_of(issued));
    CHECK(issued);
    const std::string calls = test::read_file(folder.path() + "/calls");
    CHECK(calls.find("present _acme-challenge.wild.test ") == 0);
    CHECK(calls.find("\ncleanup _acme-challenge.wild.test ") != std::string::npos);

    acme::OwnProver failing(board, {.http = false, .tls_alpn = false, .dns_program = "/bin/false"});
    const auto refused = acme::obtain(ctx, authority, {{"other.test"}, "", ""}, failing, 5ms);
    REQUIRE_FALSE(refused);
    CHECK(refused.error().reason == acme::Reason::storage);
    CHECK(refused.error().what == "the hook program /bin/false ended with 1");
    acme::OwnProver missing(board, {.http = false, .tls_alpn = false, .dns_program = "/none"});
    CHECK(acme::obtain(ctx, authority, {{"other.test"}, "", ""}, missing, 5ms).error().what ==
          "the hook program /none cannot be started: No such file or directory");
  });
}

TEST_CASE("acme: an account that was closed is told from one that may not have a name", "[integration][acme]") {
  FIBERD_NEEDS_PEBBLE();
  acme::Challenges board;
  const HostileUpstream shown({shows(board)});
  const Pebble pebble({.http_port = shown.endpoint().port()});
  REQUIRE(pebble.ready());
  const TemporaryDirectory folder;
  Rig rig;
  const acme::Store store(folder.path() + "/state", pebble.directory());
  REQUIRE(store.open());
  rig.key = *store.account_key();
  rig.with(pebble, [&](const context::Context& ctx, acme::Authority& authority) {
    const auto account = authority.enter(ctx, {}, "");
    REQUIRE(account);
    REQUIRE(store.keep(acme::Account{*account}));
    const auto there = authority.post(ctx, *account, {});
    REQUIRE(there);
    CHECK(acme::is_valid_account(there->body));
    REQUIRE(authority.post(ctx, *account, R"({"status":"deactivated"})"));
    acme::OwnProver prover(board, {.http = true, .tls_alpn = false, .dns_program = {}});
    const auto refused = acme::obtain(ctx, authority, {{"one.test"}, "", ""}, prover, 5ms);
    REQUIRE_FALSE(refused);
    INFO(words_of(refused));
    CHECK(refused.error().reason == acme::Reason::account);
  });
  // Who has to have a certificate gives it up, and makes another.
  const context::Cancelable life = context::with_cancel(context::background());
  acme::Renewer renewer(life.context, board, {}, [](const acme::Site&, const acme::Standing&) {});
  rig.fixture.run([&] {
    const acme::Site site{.listener = "web",
                          .names = {"one.test"},
                          .directory = pebble.directory(),
                          .storage = store.directory(),
                          .email = {},
                          .key_id = {},
                          .key_file = {},
                          .profile = {},
                          .ways = {.http = true, .tls_alpn = false, .dns_program = {}},
                          .tls = *tls::ClientContext::make({.ca = kTestCa, .protocols = {"http/1.1"}})};
    (void)renewer.turn(site, false);
    renewer.close();
  });
  CHECK(store.certificate({"one.test"}));
  CHECK(store.account().replaced != 0);
  life.cancel();
}

TEST_CASE("acme: a hook program that says much ends as it would", "[integration][acme]") {
  const TemporaryDirectory folder;
  // More than a pipe holds, by who does not put up with a write that fails.
  const std::string program =
      folder.write("hook", "#!/bin/sh\nset -e\necho first >&2\nhead -c 300000 /dev/zero | tr '\\0' x >&2\ntouch " +
                               folder.path() + "/done\nexit ${1}\n");
  REQUIRE(::chmod(program.c_str(), 0700) == 0);
  Rig rig;
  rig.fixture.run([&] {
    CHECK(acme::run_hook(context::background(), {program, "0"}));
    const auto failed = acme::run_hook(context::background(), {program, "3"});
    REQUIRE_FALSE(failed);
    CHECK(failed.error().what == "the hook program " + program + " ended with 3: first");
  });
  CHECK(test::read_file(folder.path() + "/done").empty());
}
